"""Search for near-duplicates in a data set, including rotated and mirrored ones."""

import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd

from lesion_segmentation.data.leakage import LeakGuardSettings
from lesion_segmentation.data.perceptual_hash import find_similar_pairs
from lesion_segmentation.data.sources.synthetic import SOURCE

logger = logging.getLogger(__name__)

COLUMNS = ("case_id", "other_case_id", "differing_bits", "near_duplicate")


def list_near_duplicates(
    cases: pd.DataFrame, perceptual_hashes: Mapping[str, np.ndarray], settings: LeakGuardSettings
) -> pd.DataFrame:
    """Compare all images with each other and log the near-duplicates.

    Two synthetic cases are never near-duplicates, since they are independent even if they look similar.

    Args:
        cases: Columns case_id, source.
        perceptual_hashes: case_id to the hashes of `read_cases`, boolean (8, 256).
        settings: The setting `max_distance` is used.

    Returns:
        One row with case_id, other_case_id, differing_bits and near_duplicate for each pair with at most `max_distance`
        differing bits, or for the nearest pair if there is none.
    """
    case_ids = sorted(perceptual_hashes)
    synthetic = set(cases.loc[cases["source"] == SOURCE, "case_id"])
    found = [
        (case_ids[i], case_ids[j], bits, bits <= settings.max_distance and not {case_ids[i], case_ids[j]} <= synthetic)
        for i, j, bits in find_similar_pairs(
            [perceptual_hashes[case_id] for case_id in case_ids], settings.max_distance
        )
    ]
    table = pd.DataFrame(found, columns=list(COLUMNS))
    flagged = table[table["near_duplicate"].astype(bool)]
    if len(flagged):
        first = flagged.iloc[0]
        logger.warning(
            "%d pairs of images are near-duplicates by leak_guard.max_distance, such as %s and %s",
            len(flagged), first["case_id"], first["other_case_id"],
        )  # fmt: skip
    return table
