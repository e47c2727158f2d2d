"""Which pictures of a data set look alike: near-duplicates, turned and mirrored ones included."""

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
    """Compare each picture with each.

    Two drawn cases are two drawings, however alike: they are known by their source, not by their pixels.

    Args:
        cases: case_id, source.
        perceptual_hashes: case_id to boolean (8, 256), as read_cases gives them.
        settings: Up to which distance two pictures are near-duplicates.

    Returns:
        case_id, other_case_id, differing_bits and near_duplicate of each pair of at most `max_distance` bits, and, if
        there is none, of the nearest pair; one row a pair.
    """
    case_ids = sorted(perceptual_hashes)
    drawn = set(cases.loc[cases["source"] == SOURCE, "case_id"])
    found = [
        (case_ids[i], case_ids[j], bits, bits <= settings.max_distance and not {case_ids[i], case_ids[j]} <= drawn)
        for i, j, bits in find_similar_pairs(
            [perceptual_hashes[case_id] for case_id in case_ids], settings.max_distance
        )
    ]
    table = pd.DataFrame(found, columns=list(COLUMNS))
    alike = table[table["near_duplicate"].astype(bool)]
    if len(alike):
        first = alike.iloc[0]
        logger.warning(
            "%d pairs of pictures look alike, such as %s and %s (leak_guard.max_distance)",
            len(alike), first["case_id"], first["other_case_id"],
        )  # fmt: skip
    return table
