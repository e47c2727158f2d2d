import numpy as np
import pandas as pd
import pytest

from lesion_segmentation.data.leaks import (
    LeakGuardSettings,
    find_near_duplicates,
    guard_samples,
)
from lesion_segmentation.data.perceptual_hash import hash_views
from lesion_segmentation.data.samples import AugmentationSettings, make_samples
from lesion_segmentation.data.splits import SplitSettings, check_origin, split_cases, split_hash
from lesion_segmentation.errors import InputError

COPIES = AugmentationSettings(copies=("rotated", "flipped"))


@pytest.fixture
def split(cases) -> pd.DataFrame:
    return split_cases(cases, SplitSettings(protocol="stratified"))


@pytest.fixture
def samples(images, masks, split) -> pd.DataFrame:
    return make_samples(images, masks, split, COPIES)[0]


def test_clean_samples_pass_and_name_their_split(samples, split, hashes):
    guarded = guard_samples(samples, split, hashes, LeakGuardSettings())
    pd.testing.assert_frame_equal(guarded.drop(columns="split_hash"), samples)
    assert set(guarded["split_hash"]) == {split_hash(split)}
    check_origin(guarded, split)


def test_samples_guarded_under_another_split_are_refused(samples, split, hashes, cases):
    guarded = guard_samples(samples, split, hashes, LeakGuardSettings())
    other = split_cases(cases, SplitSettings(protocol="stratified", seed=1))
    with pytest.raises(InputError, match="made and guarded under split"):
        check_origin(guarded, other)


@pytest.mark.parametrize("subset", ["validation", "test"])
def test_a_copy_of_a_scored_case_in_training_fails_the_run(samples, split, hashes, subset):
    victim = split.loc[split["subset"] == subset, "case_id"].iloc[0]
    stolen = pd.DataFrame([{"sample_id": f"{victim}_flipped", "case_id": victim, "transform": "flipped"}])
    leaking = pd.concat([samples, stolen.assign(subset="train")], ignore_index=True)
    for allow_leak in (False, True):  # allowed or not: this is not the published protocol
        with pytest.raises(InputError, match=f"{subset} {victim}: the training sample {victim}_flipped shows the same"):
            guard_samples(leaking, split, hashes, LeakGuardSettings(allow_leak=allow_leak))


@pytest.mark.parametrize(
    "alter",
    [
        lambda image: image[:, ::-1],
        lambda image: image[::-1],
        lambda image: np.clip(image * 0.9 + 10, 0, 255).astype(np.uint8),
    ],
)
def test_near_duplicates_across_subsets_fail_the_run(samples, split, images, hashes, alter):
    test, train = (split.loc[split["subset"] == name, "case_id"].iloc[0] for name in ("test", "train"))
    forged = hashes | {test: hash_views(alter(images[train]))}
    with pytest.raises(InputError) as caught:
        guard_samples(samples, split, forged, LeakGuardSettings())
    first, second = sorted([test, train])
    assert f"{first} (" in str(caught.value)
    assert f"and {second} (" in str(caught.value)
    assert "1 problem\n" in str(caught.value)


def test_near_duplicates_within_a_subset_do_no_harm(samples, split, hashes):
    one, other = split.loc[split["subset"] == "train", "case_id"].iloc[:2]
    assert find_near_duplicates(samples, split, hashes | {other: hashes[one]}, 46) == []
