"""The leak guard: no training sample may show a case, or its near-duplicate, that validation or test is scored on."""

import itertools
import logging
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from lesion_segmentation.data.likeness import HASH_BITS, hash_distances
from lesion_segmentation.data.splits import LEAKY_PROTOCOL, split_hash
from lesion_segmentation.errors import InputError

logger = logging.getLogger(__name__)

_SHOWN = 20


class LeakGuardSettings(BaseModel):
    """The parameters `leak_guard`.

    Attributes:
        allow_leak: Let the leak between training and validation of `paper_leaky` through, with a warning; no other.
        max_distance: Two pictures whose perceptual hashes differ in at most so many of 256 bits are near-duplicates.
            docs/leak_guard.md has the distances within PH2 that the default rests on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    allow_leak: bool = False
    max_distance: int = Field(46, ge=0, le=HASH_BITS)


class Leak(NamedTuple):
    """A pair that training and scoring share, in words, and whether a test case is one of the two."""

    words: str
    concerns_test: bool


def guard_samples(
    samples: pd.DataFrame, split: pd.DataFrame, images: Mapping[str, np.ndarray], settings: LeakGuardSettings
) -> pd.DataFrame:
    """Pass on the samples only if nothing leaks from training into validation or test.

    Args:
        samples: sample_id, case_id, transform, subset.
        split: case_id, subset, protocol.
        images: case_id to uint8 (H, W, 3).
        settings: Whether a leak is meant, and what a near-duplicate is.

    Returns:
        The samples with the hash of the split that they were checked against: training and reporting take these.

    Raises:
        InputError: Names the pairs that leak. `allow_leak` lets none through but those of `paper_leaky` between
            training and validation.
    """
    leaks = find_siblings(samples, split) + find_near_duplicates(samples, split, images, settings.max_distance)
    meant = settings.allow_leak and split["protocol"].iloc[0] == LEAKY_PROTOCOL
    refused = [leak.words for leak in leaks if leak.concerns_test or not meant]
    if refused:
        more = [f"... and {len(refused) - _SHOWN} more"] if len(refused) > _SHOWN else []
        raise InputError.from_problems(
            "Training would see what it is scored on",
            refused[:_SHOWN] + more,
            "Choose another split.protocol, or remove one of each pair. The published leak between training and "
            f"validation is let through by split.protocol={LEAKY_PROTOCOL} with leak_guard.allow_leak=true.",
            count=len(refused),
        )
    if leaks:
        logger.warning("LEAK, allowed by leak_guard.allow_leak: %d pairs, such as %s", len(leaks), leaks[0].words)
    return samples.assign(split_hash=split_hash(split))


def check_origin(guarded_samples: pd.DataFrame, split: pd.DataFrame) -> None:
    """Refuse samples that were guarded under another split than the one at hand."""
    guarded, here = guarded_samples["split_hash"].iloc[0], split_hash(split)
    if guarded != here:
        raise InputError(
            f"The samples were made and guarded under split {guarded}, but the split is {here} now: its test cases may "
            "be among them. Make them again: kedro run --pipelines=augmentation,training,reporting"
        )


def find_siblings(samples: pd.DataFrame, split: pd.DataFrame) -> list[Leak]:
    """Each validation sample and test case that a training sample derives from, with one such training sample."""
    train = samples[samples["subset"] == "train"].drop_duplicates("case_id").set_index("case_id")["sample_id"]
    scored = pd.concat([samples[samples["subset"] == "validation"], split[split["subset"] == "test"]])
    names = scored["sample_id"].fillna(scored["case_id"])
    return [
        Leak(f"{row.subset} {name}: the training sample {train[row.case_id]} shows the same case", row.subset == "test")
        for row, name in zip(scored.itertuples(), names, strict=True)
        if row.case_id in train
    ]


def find_near_duplicates(
    samples: pd.DataFrame, split: pd.DataFrame, images: Mapping[str, np.ndarray], max_distance: int
) -> list[Leak]:
    """Pairs of different cases in different subsets whose pictures look alike, turned or mirrored ones included."""
    case_ids = sorted(split["case_id"])
    distances = hash_distances([images[case_id] for case_id in case_ids])
    subsets = {case_id: {"test"} for case_id in split.loc[split["subset"] == "test", "case_id"]}
    subsets |= samples.groupby("case_id")["subset"].apply(set).to_dict()
    return [
        Leak(
            f"{a} ({'/'.join(sorted(subsets[a]))}) and {b} ({'/'.join(sorted(subsets[b]))}) look alike: "
            f"{distances[i, j]} of {HASH_BITS} bits differ, more than {max_distance} expected",
            "test" in subsets[a] | subsets[b],
        )
        for (i, a), (j, b) in itertools.combinations(enumerate(case_ids), 2)
        if distances[i, j] <= max_distance and len(subsets[a] | subsets[b]) > 1
    ]
