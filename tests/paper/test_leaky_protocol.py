"""The published split, which deals copies of one case to training and validation."""

import numpy as np
import pandas as pd
import pytest

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.leakage import LeakGuardSettings, find_siblings, guard_samples
from lesion_segmentation.data.near_duplicates import COLUMNS
from lesion_segmentation.data.samples import AugmentationSettings, list_scored, make_samples
from lesion_segmentation.data.sources.ph2 import read_manifest
from lesion_segmentation.data.splits import SplitSettings, split_cases, split_hash

NONE_ALIKE = pd.DataFrame(columns=list(COLUMNS))
COPIES = AugmentationSettings(copies=("rotated", "flipped"))


@pytest.fixture(scope="module")
def leaky() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The published protocol on PH2's 200 case ids: samples and split. The pictures do not matter to it."""
    cases = pd.DataFrame({"case_id": sorted(read_manifest().index), "diagnosis": ""})
    split = split_cases(cases, SplitSettings(protocol="paper_leaky"))
    blank = {case_id: np.zeros((32, 32, 3), np.uint8) for case_id in cases["case_id"]}
    blank_masks = {case_id: image[..., 0] for case_id, image in blank.items()}
    return make_samples(blank, blank_masks, split, COPIES)[0], split


def test_the_published_protocol_has_87_of_its_90_validation_samples_in_training(leaky):
    samples, split = leaky
    assert samples["subset"].value_counts().to_dict() == {"train": 360, "validation": 90, "test": 50}
    assert split["subset"].value_counts().to_dict() == {"development": 150, "test": 50}
    assert len(find_siblings(samples, split)) == 87
    validation, train = (samples[samples["subset"] == name] for name in ("validation", "train"))
    assert len(set(validation["case_id"]) & set(train["case_id"])) == 72 - 1  # 72 cases; one is in validation alone
    assert train["case_id"].nunique() == 149


def test_every_copy_of_a_development_case_is_scored_under_the_published_protocol(leaky):
    samples, split = leaky
    guarded = samples.assign(split_hash=split_hash(split))
    scored = list_scored(guarded, split, split.assign(source="PH2", image_sha256="", mask_sha256=""))
    assert scored["subset"].value_counts().to_dict() == {"train": 360, "validation": 90, "test": 50}
    assert set(scored["protocol"]) == {"paper_leaky"}


def test_the_published_leak_gets_through_only_where_the_configuration_says_so(leaky, caplog):
    samples, split = leaky
    with pytest.raises(InputError, match="87 problems"):
        guard_samples(samples, split, NONE_ALIKE, LeakGuardSettings())
    assert len(guard_samples(samples, split, NONE_ALIKE, LeakGuardSettings(allow_leak=True))) == 500
    assert "LEAK, allowed by leak_guard.allow_leak: 87 pairs" in caplog.text


def test_what_concerns_the_test_is_never_let_through(leaky):
    samples, split = leaky
    test, seen = (split.loc[split["subset"] == name, "case_id"].iloc[0] for name in ("test", "development"))
    pair = pd.DataFrame([(test, seen, 0, True)], columns=list(COLUMNS))
    with pytest.raises(InputError, match=r"1 problem\n.* look alike"):
        guard_samples(samples, split, pair, LeakGuardSettings(allow_leak=True))


def test_the_published_protocol_needs_its_copies(leaky):
    _, split = leaky
    with pytest.raises(InputError, match=r"expected \[rotated, flipped\]"):
        make_samples({}, {}, split, AugmentationSettings())
