"""The published split, which puts copies of one case into training and validation."""

import numpy as np
import pandas as pd
import pytest

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.leakage import PAIR_COLUMNS, LeakGuardSettings, find_shared_case_leaks, guard_samples
from lesion_segmentation.data.samples import AugmentationSettings, list_scored, make_samples
from lesion_segmentation.data.sources.ph2 import read_manifest
from lesion_segmentation.data.splits import SplitSettings, split_cases, split_hash

NO_DUPLICATES = pd.DataFrame(columns=list(PAIR_COLUMNS))
COPIES = AugmentationSettings(copies=("rotated", "flipped"))


@pytest.fixture(scope="module")
def leaky() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return samples and split of the published protocol on PH2's 200 case ids, with black images."""
    cases = pd.DataFrame({"case_id": sorted(read_manifest().index), "diagnosis": ""})
    split = split_cases(cases, SplitSettings(protocol="paper_leaky"))
    blank = {case_id: np.zeros((32, 32, 3), np.uint8) for case_id in cases["case_id"]}
    blank_masks = {case_id: image[..., 0] for case_id, image in blank.items()}
    return make_samples(blank, blank_masks, split, COPIES)[0], split


def test_87_of_90_validation_samples_have_copies_in_training(leaky):
    samples, split = leaky
    assert samples["subset"].value_counts().to_dict() == {"train": 360, "validation": 90, "test": 50}
    assert split["subset"].value_counts().to_dict() == {"development": 150, "test": 50}
    assert len(find_shared_case_leaks(samples, split)) == 87
    validation, train = (samples[samples["subset"] == name] for name in ("validation", "train"))
    assert len(set(validation["case_id"]) & set(train["case_id"])) == 72 - 1  # 72 cases; one is only in validation
    assert train["case_id"].nunique() == 149


def test_every_copy_of_a_development_case_is_scored(leaky):
    samples, split = leaky
    guarded = samples.assign(split_hash=split_hash(split))
    scored = list_scored(guarded, split, split.assign(source="PH2", image_sha256="", mask_sha256=""))
    assert scored["subset"].value_counts().to_dict() == {"train": 360, "validation": 90, "test": 50}
    assert set(scored["protocol"]) == {"paper_leaky"}


def test_leak_is_refused_unless_parameters_allow_it(leaky, caplog):
    samples, split = leaky
    with pytest.raises(InputError, match="87 problems"):
        guard_samples(samples, split, NO_DUPLICATES, LeakGuardSettings())
    assert len(guard_samples(samples, split, NO_DUPLICATES, LeakGuardSettings(allow_leak=True))) == 500
    assert "LEAK, allowed by leak_guard.allow_leak: 87 pairs" in caplog.text


def test_leak_of_test_cases_is_never_allowed(leaky):
    samples, split = leaky
    test, seen = (split.loc[split["subset"] == name, "case_id"].iloc[0] for name in ("test", "development"))
    pair = pd.DataFrame([(test, seen, 0, True)], columns=list(PAIR_COLUMNS))
    with pytest.raises(InputError, match=r"1 problem\n.* near-duplicates"):
        guard_samples(samples, split, pair, LeakGuardSettings(allow_leak=True))


def test_leaky_protocol_requires_both_copies(leaky):
    _, split = leaky
    with pytest.raises(InputError, match=r"expected \[rotated, flipped\]"):
        make_samples({}, {}, split, AugmentationSettings())
