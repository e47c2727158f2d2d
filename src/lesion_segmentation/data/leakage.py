"""The leak guard: no training sample may show a case, or its near-duplicate, that validation or test is scored on."""

import logging
from typing import NamedTuple

import pandas as pd
from pydantic import Field

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.parameter_model import ParameterModel
from lesion_segmentation.data.perceptual_hash import HASH_BITS
from lesion_segmentation.data.splits import PROTOCOLS, leaks, split_hash

logger = logging.getLogger(__name__)

_SHOWN = 20


class LeakGuardSettings(ParameterModel):
    """The parameters `leak_guard`.

    Attributes:
        allow_leak: Let the leak between training and validation of a protocol that deals samples through, with a
            warning; no other.
        max_distance: Two pictures whose perceptual hashes differ in at most so many of 256 bits are near-duplicates.
            docs/leak_guard.md has the distances within PH2 that the default rests on.
    """

    allow_leak: bool = False
    max_distance: int = Field(46, ge=0, le=HASH_BITS)


class Leak(NamedTuple):
    """A pair that training and scoring share, in words, and whether a test case is one of the two."""

    words: str
    concerns_test: bool


def guard_samples(
    samples: pd.DataFrame,
    split: pd.DataFrame,
    near_duplicates: pd.DataFrame,
    settings: LeakGuardSettings,
) -> pd.DataFrame:
    """Pass on the samples only if nothing leaks from training into validation or test.

    Args:
        samples: sample_id, case_id, transform, subset.
        split: case_id, subset, protocol.
        near_duplicates: case_id, other_case_id, differing_bits, near_duplicate.
        settings: Whether a leak is meant.

    Returns:
        The samples with the hash of the split that they were checked against: training and reporting take these.

    Raises:
        InputError: Names the pairs that leak. `allow_leak` lets none through but those of a protocol that deals
            samples, between training and validation.
    """
    found = find_siblings(samples, split)
    found += find_near_duplicates(samples, split, near_duplicates)
    meant = settings.allow_leak and leaks(split["protocol"].iloc[0])
    refused = [leak.words for leak in found if leak.concerns_test or not meant]
    if refused:
        more = [f"... and {len(refused) - _SHOWN} more"] if len(refused) > _SHOWN else []
        raise InputError.from_problems(
            "Training would see what it is scored on",
            refused[:_SHOWN] + more,
            "Choose another split.protocol, or remove one of each pair. A leak between training and validation that "
            f"belongs to the protocol ({_leaky_protocols()}) is let through by leak_guard.allow_leak=true.",
            count=len(refused),
        )
    if found:
        logger.warning("LEAK, allowed by leak_guard.allow_leak: %d pairs, such as %s", len(found), found[0].words)
    return samples.assign(split_hash=split_hash(split))


def find_siblings(samples: pd.DataFrame, split: pd.DataFrame) -> list[Leak]:
    """Each validation sample and test case that a training sample derives from, with one such training sample."""
    train = samples[samples["subset"] == "train"].drop_duplicates("case_id").set_index("case_id")["sample_id"]
    validation = samples[samples["subset"] == "validation"]
    # The split says what the test cases are, whatever the samples say.
    test = split[split["subset"] == "test"].assign(sample_id=lambda table: table["case_id"])
    scored = pd.concat([validation, test])
    return [
        Leak(
            f"{row.subset} {row.sample_id}: the training sample {train[row.case_id]} shows the same case",
            row.subset == "test",
        )
        for row in scored[scored["case_id"].isin(train.index)].itertuples()
    ]


def find_near_duplicates(samples: pd.DataFrame, split: pd.DataFrame, near_duplicates: pd.DataFrame) -> list[Leak]:
    """Pairs of different cases in different subsets whose pictures look alike, turned or mirrored ones included."""
    test = split[split["subset"] == "test"]
    subsets = pd.concat([samples, test]).groupby("case_id")["subset"].apply(set).to_dict()
    pairs = near_duplicates[near_duplicates["near_duplicate"].astype(bool)]
    return [
        Leak(
            f"{a} ({'/'.join(sorted(subsets[a]))}) and {b} ({'/'.join(sorted(subsets[b]))}) look alike: "
            f"{bits} of {HASH_BITS} bits differ, more than leak_guard.max_distance expected",
            "test" in subsets[a] | subsets[b],
        )
        for a, b, bits in pairs[["case_id", "other_case_id", "differing_bits"]].itertuples(index=False)
        if len(subsets[a] | subsets[b]) > 1
    ]


def _leaky_protocols() -> str:
    return ", ".join(name for name in PROTOCOLS if leaks(name)) or "none here"
