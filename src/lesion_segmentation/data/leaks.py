"""The leak guard: no training sample may show a case, or its near-duplicate, that validation or test is scored on."""

import itertools
import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from lesion_segmentation.data.likeness import HASH_BITS, hash_distances
from lesion_segmentation.errors import InputError

logger = logging.getLogger(__name__)

_SHOWN = 20


class LeakGuardSettings(BaseModel):
    """The parameters `leak_guard`.

    Attributes:
        allow_leak: Let leaking samples through, with a warning: to reproduce a published protocol, for nothing else.
        max_distance: Two pictures whose perceptual hashes differ in at most so many of 256 bits are near-duplicates.
            docs/leak_guard.md has the distances within PH2 that the default rests on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    allow_leak: bool = False
    max_distance: int = Field(46, ge=0, le=HASH_BITS)


def guard_samples(
    samples: pd.DataFrame, split: pd.DataFrame, images: Mapping[str, np.ndarray], settings: LeakGuardSettings
) -> pd.DataFrame:
    """Pass on the samples only if nothing leaks from training into validation or test.

    Args:
        samples: sample_id, case_id, transform, subset.
        split: case_id, subset.
        images: case_id to uint8 (H, W, 3).
        settings: Whether a leak is meant, and what a near-duplicate is.

    Returns:
        The samples, unchanged: training takes these.

    Raises:
        InputError: Names the pairs that leak.
    """
    leaks = find_siblings(samples, split) + find_near_duplicates(samples, split, images, settings.max_distance)
    if leaks and not settings.allow_leak:
        more = [f"... and {len(leaks) - _SHOWN} more"] if len(leaks) > _SHOWN else []
        raise InputError.from_problems(
            "Training would see what it is scored on",
            leaks[:_SHOWN] + more,
            "Choose another split.protocol, or remove one of each pair. To reproduce a published leak on purpose: "
            "--params leak_guard.allow_leak=true",
            count=len(leaks),
        )
    if leaks:
        logger.warning("LEAK, allowed by leak_guard.allow_leak: %d pairs, such as %s", len(leaks), leaks[0])
    return samples


def find_siblings(samples: pd.DataFrame, split: pd.DataFrame) -> list[str]:
    """Each validation sample and test case that a training sample derives from, with one such training sample."""
    train = samples[samples["subset"] == "train"].drop_duplicates("case_id").set_index("case_id")["sample_id"]
    scored = pd.concat([samples[samples["subset"] == "validation"], split[split["subset"] == "test"]])
    names = scored["sample_id"].fillna(scored["case_id"])
    return [
        f"{row.subset} {name}: the training sample {train[row.case_id]} shows the same case"
        for row, name in zip(scored.itertuples(), names, strict=True)
        if row.case_id in train
    ]


def find_near_duplicates(
    samples: pd.DataFrame, split: pd.DataFrame, images: Mapping[str, np.ndarray], max_distance: int
) -> list[str]:
    """Pairs of different cases in different subsets whose pictures look alike, turned or mirrored ones included."""
    case_ids = sorted(split["case_id"])
    distances = hash_distances([images[case_id] for case_id in case_ids])
    subsets = {case_id: {"test"} for case_id in split.loc[split["subset"] == "test", "case_id"]}
    subsets |= samples.groupby("case_id")["subset"].apply(set).to_dict()
    return [
        f"{a} ({'/'.join(sorted(subsets[a]))}) and {b} ({'/'.join(sorted(subsets[b]))}) look alike: "
        f"{distances[i, j]} of {HASH_BITS} bits differ, more than {max_distance} expected"
        for (i, a), (j, b) in itertools.combinations(enumerate(case_ids), 2)
        if distances[i, j] <= max_distance and len(subsets[a] | subsets[b]) > 1
    ]
