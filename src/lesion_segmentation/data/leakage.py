"""Search for near-duplicates, and the leak guard, which refuses a case or its near-duplicates in several subsets."""

import logging
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from lesion_segmentation.core.errors import InputError, pluralize
from lesion_segmentation.core.parameter_model import ParameterModel
from lesion_segmentation.data.perceptual_hash import HASH_BITS, find_similar_pairs
from lesion_segmentation.data.sources.synthetic import SOURCE
from lesion_segmentation.data.splits import PROTOCOLS, leaks, split_hash

logger = logging.getLogger(__name__)

PAIR_COLUMNS = ("case_id", "other_case_id", "differing_bits", "near_duplicate")
_MAX_LISTED = 20


class LeakGuardSettings(ParameterModel):
    """The parameters `leak_guard`.

    Attributes:
        allow_leak: Allow, with a warning, leaks between training and validation under a protocol that assigns samples
            instead of cases. All other leaks are always refused.
        max_distance: Two images are near-duplicates if their perceptual hashes differ in at most this many of 256
            bits. docs/explanation/leakage.md lists the distances within PH2 on which the default is based.
    """

    allow_leak: bool = False
    max_distance: int = Field(46, ge=0, le=HASH_BITS)


class Leak(NamedTuple):
    """A case, or a pair of near-duplicates, in two subsets: its description, and whether a test case is concerned."""

    description: str
    concerns_test: bool


def list_near_duplicates(
    cases: pd.DataFrame, perceptual_hashes: Mapping[str, np.ndarray], settings: LeakGuardSettings
) -> pd.DataFrame:
    """Compare all images of `read_cases` with each other by their hashes, boolean (8, 256), and log near-duplicates.

    Two synthetic cases are never near-duplicates, since they are independent even if they look similar.

    Returns:
        One row with the PAIR_COLUMNS for each pair with at most `max_distance` differing bits, or for the nearest pair
        if there is none.
    """
    case_ids = sorted(perceptual_hashes)
    hashes = [perceptual_hashes[case_id] for case_id in case_ids]
    synthetic = set(cases.loc[cases["source"] == SOURCE, "case_id"])
    found = [
        (case_ids[i], case_ids[j], bits, bits <= settings.max_distance and not {case_ids[i], case_ids[j]} <= synthetic)
        for i, j, bits in find_similar_pairs(hashes, settings.max_distance)
    ]
    table = pd.DataFrame(found, columns=list(PAIR_COLUMNS))
    flagged = table[table["near_duplicate"].astype(bool)]
    if len(flagged):
        first = flagged.iloc[0]
        logger.warning(
            "%s of near-duplicate images by leak_guard.max_distance, such as %s and %s",
            pluralize(len(flagged), "pair"), first["case_id"], first["other_case_id"],
        )  # fmt: skip
    return table


def guard_samples(
    samples: pd.DataFrame, split: pd.DataFrame, near_duplicates: pd.DataFrame, settings: LeakGuardSettings
) -> pd.DataFrame:
    """Check that no case is in two subsets, and that no near-duplicates are in different subsets.

    The tables are those of `make_samples`, `split_cases` and `list_near_duplicates`.

    Returns:
        The samples with the column split_hash, the hash of the split that they were compared with.

    Raises:
        InputError: There are leaks; the message lists up to 20 of them.
    """
    found = find_shared_case_leaks(samples, split)
    found += find_near_duplicate_leaks(samples, split, near_duplicates)
    meant = settings.allow_leak and leaks(split["protocol"].iloc[0])
    refused = [leak.description for leak in found if leak.concerns_test or not meant]
    if refused:
        more = [f"... and {len(refused) - _MAX_LISTED} more"] if len(refused) > _MAX_LISTED else []
        leaky = ", ".join(name for name in PROTOCOLS if leaks(name)) or "no registered one"
        raise InputError.from_problems(
            "Some cases or their near-duplicates are in more than one subset",
            refused[:_MAX_LISTED] + more,
            "Choose another split.protocol, or remove one case of each pair. leak_guard.allow_leak=true allows leaks "
            f"between training and validation under protocols that leak by definition ({leaky}).",
            count=len(refused),
        )
    if found:
        logger.warning("LEAK, allowed by leak_guard.allow_leak: %d pairs, such as %s", len(found), found[0].description)
    return samples.assign(split_hash=split_hash(split))


def find_shared_case_leaks(samples: pd.DataFrame, split: pd.DataFrame) -> list[Leak]:
    """Return a leak for each validation sample and each test case that shows the same case as a training sample."""
    train = samples[samples["subset"] == "train"].drop_duplicates("case_id").set_index("case_id")["sample_id"]
    validation = samples[samples["subset"] == "validation"]
    # The test cases are taken from the split, which the samples may contradict.
    test = split[split["subset"] == "test"].assign(sample_id=lambda table: table["case_id"])
    scored = pd.concat([validation, test])
    return [
        Leak(
            f"{row.subset} {row.sample_id}: the training sample {train[row.case_id]} shows the same case",
            row.subset == "test",
        )
        for row in scored[scored["case_id"].isin(train.index)].itertuples()
    ]


def find_near_duplicate_leaks(samples: pd.DataFrame, split: pd.DataFrame, near_duplicates: pd.DataFrame) -> list[Leak]:
    """Return a leak for each pair of near-duplicates in different subsets."""
    test = split[split["subset"] == "test"]
    subsets = pd.concat([samples, test]).groupby("case_id")["subset"].apply(set).to_dict()
    subsets = defaultdict(set, subsets)  # split_cases drops training cases, which then have no subset
    pairs = near_duplicates[near_duplicates["near_duplicate"].astype(bool)]
    return [
        Leak(
            f"{a} ({'/'.join(sorted(subsets[a]))}) and {b} ({'/'.join(sorted(subsets[b]))}) are "
            f"near-duplicates: {bits} of {HASH_BITS} bits differ, expected more than leak_guard.max_distance",
            "test" in subsets[a] | subsets[b],
        )
        for a, b, bits in pairs[["case_id", "other_case_id", "differing_bits"]].itertuples(index=False)
        if len(subsets[a] | subsets[b]) > 1
    ]
