import numpy as np
import pandas as pd
import pytest

from lesion_segmentation.data.copies import AugmentationSettings, copy_samples, list_scored
from lesion_segmentation.data.leaks import (
    LeakGuardSettings,
    check_origin,
    find_near_duplicates,
    find_siblings,
    guard_samples,
)
from lesion_segmentation.data.ph2 import read_manifest
from lesion_segmentation.data.splits import SplitSettings, split_cases, split_hash
from lesion_segmentation.errors import InputError

COPIES = AugmentationSettings(copies=("rotated", "flipped"))


@pytest.fixture
def split(cases) -> pd.DataFrame:
    return split_cases(cases, SplitSettings(protocol="stratified"))


@pytest.fixture
def samples(images, masks, split) -> pd.DataFrame:
    return copy_samples(images, masks, split, COPIES)[0]


@pytest.fixture(scope="module")
def leaky() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The published protocol on PH2's 200 case ids: samples and split. The pictures do not matter to it."""
    cases = pd.DataFrame({"case_id": sorted(read_manifest().index), "diagnosis": ""})
    split = split_cases(cases, SplitSettings(protocol="paper_leaky"))
    blank = {case_id: np.zeros((32, 32, 3), np.uint8) for case_id in cases["case_id"]}
    blank_masks = {case_id: image[..., 0] for case_id, image in blank.items()}
    return copy_samples(blank, blank_masks, split, COPIES)[0], split


@pytest.fixture
def noise(leaky) -> dict[str, np.ndarray]:
    """Pictures of the 200 ids, no two of which look alike."""
    generator = np.random.default_rng(0)
    return {case_id: generator.integers(0, 255, (32, 32, 3), dtype=np.uint8) for case_id in leaky[1]["case_id"]}


def test_clean_samples_pass_and_name_their_split(samples, split, images):
    guarded = guard_samples(samples, split, images, LeakGuardSettings())
    pd.testing.assert_frame_equal(guarded.drop(columns="split_hash"), samples)
    assert set(guarded["split_hash"]) == {split_hash(split)}
    check_origin(guarded, split)


def test_samples_guarded_under_another_split_are_refused(samples, split, images, cases):
    guarded = guard_samples(samples, split, images, LeakGuardSettings())
    other = split_cases(cases, SplitSettings(protocol="stratified", seed=1))
    with pytest.raises(InputError, match="made and guarded under split"):
        check_origin(guarded, other)


def test_the_published_protocol_has_87_of_its_90_validation_samples_in_training(leaky):
    samples, split = leaky
    assert samples["subset"].value_counts().to_dict() == {"train": 360, "validation": 90}
    assert split["subset"].value_counts().to_dict() == {"development": 150, "test": 50}
    assert len(find_siblings(samples, split)) == 87
    validation, train = (samples[samples["subset"] == name] for name in ("validation", "train"))
    assert len(set(validation["case_id"]) & set(train["case_id"])) == 72 - 1  # 72 cases; one is in validation alone
    assert train["case_id"].nunique() == 149


def test_every_copy_of_a_development_case_is_scored_under_the_published_protocol(leaky):
    samples, split = leaky
    scored = list_scored(samples, split)
    assert scored["subset"].value_counts().to_dict() == {"train": 360, "validation": 90, "test": 50}
    assert set(scored["protocol"]) == {"paper_leaky"}


@pytest.mark.parametrize("subset", ["validation", "test"])
def test_a_copy_of_a_scored_case_in_training_fails_the_run(samples, split, images, subset):
    victim = split.loc[split["subset"] == subset, "case_id"].iloc[0]
    stolen = pd.DataFrame([{"sample_id": f"{victim}_flipped", "case_id": victim, "transform": "flipped"}])
    leaking = pd.concat([samples, stolen.assign(subset="train")], ignore_index=True)
    for allow_leak in (False, True):  # allowed or not: this is not the published protocol
        with pytest.raises(InputError, match=f"{subset} {victim}: the training sample {victim}_flipped shows the same"):
            guard_samples(leaking, split, images, LeakGuardSettings(allow_leak=allow_leak))


@pytest.mark.parametrize(
    "alter",
    [
        lambda image: image[:, ::-1],
        lambda image: image[::-1],
        lambda image: np.clip(image * 0.9 + 10, 0, 255).astype(np.uint8),
    ],
)
def test_near_duplicates_across_subsets_fail_the_run(samples, split, images, alter):
    test, train = (split.loc[split["subset"] == name, "case_id"].iloc[0] for name in ("test", "train"))
    forged = images | {test: alter(images[train])}
    with pytest.raises(InputError) as caught:
        guard_samples(samples, split, forged, LeakGuardSettings())
    first, second = sorted([test, train])
    assert f"{first} (" in str(caught.value)
    assert f"and {second} (" in str(caught.value)
    assert "1 problem\n" in str(caught.value)


def test_near_duplicates_within_a_subset_do_no_harm(samples, split, images):
    one, other = split.loc[split["subset"] == "train", "case_id"].iloc[:2]
    assert find_near_duplicates(samples, split, images | {other: images[one]}, 46) == []


def test_the_published_leak_gets_through_only_where_the_configuration_says_so(leaky, noise, caplog):
    samples, split = leaky
    with pytest.raises(InputError, match="87 problems"):
        guard_samples(samples, split, noise, LeakGuardSettings())
    assert len(guard_samples(samples, split, noise, LeakGuardSettings(allow_leak=True))) == 450
    assert "LEAK, allowed by leak_guard.allow_leak: 87 pairs" in caplog.text


def test_what_concerns_the_test_is_never_let_through(leaky, noise):
    samples, split = leaky
    test, seen = (split.loc[split["subset"] == name, "case_id"].iloc[0] for name in ("test", "development"))
    with pytest.raises(InputError, match=r"1 problem\n.* look alike"):
        guard_samples(samples, split, noise | {test: noise[seen]}, LeakGuardSettings(allow_leak=True))


def test_the_published_protocol_needs_its_copies(leaky):
    _, split = leaky
    with pytest.raises(InputError, match=r"expected \[rotated, flipped\]"):
        copy_samples({}, {}, split, AugmentationSettings())
