import numpy as np
import pandas as pd
import pytest
from conftest import SMALL
from PIL import Image

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.annotations import parse_annotations
from lesion_segmentation.data.cases import DataSettings, read_cases
from lesion_segmentation.data.leakage import (
    LeakGuardSettings,
    find_near_duplicate_leaks,
    guard_samples,
    list_near_duplicates,
)
from lesion_segmentation.data.perceptual_hash import hash_views
from lesion_segmentation.data.samples import AugmentationSettings, make_samples
from lesion_segmentation.data.sources import synthetic
from lesion_segmentation.data.splits import SplitSettings, require_same_split, split_cases, split_hash

COPIES = AugmentationSettings(copies=("rotated", "flipped"))


@pytest.fixture
def split(cases) -> pd.DataFrame:
    return split_cases(cases, SplitSettings(protocol="stratified"))


@pytest.fixture
def photographs(cases) -> pd.DataFrame:
    """Rename the source, since synthetic cases are never near-duplicates."""
    return cases.assign(source="photographs")


@pytest.fixture
def near_duplicates(photographs, hashes) -> pd.DataFrame:
    return list_near_duplicates(photographs, hashes, LeakGuardSettings())


@pytest.fixture
def samples(images, masks, split) -> pd.DataFrame:
    return make_samples(images, masks, split, COPIES)[0]


def test_samples_without_leaks_pass_and_get_the_split_hash(samples, split, near_duplicates):
    guarded = guard_samples(samples, split, near_duplicates, LeakGuardSettings())
    pd.testing.assert_frame_equal(guarded.drop(columns="split_hash"), samples)
    assert set(guarded["split_hash"]) == {split_hash(split)}
    require_same_split(guarded, split)


def test_samples_checked_under_another_split_are_refused(samples, split, near_duplicates, cases):
    guarded = guard_samples(samples, split, near_duplicates, LeakGuardSettings())
    other = split_cases(cases, SplitSettings(protocol="stratified", seed=1))
    with pytest.raises(InputError, match="were checked under split"):
        require_same_split(guarded, other)


@pytest.mark.parametrize("subset", ["validation", "test"])
def test_copy_of_scored_case_in_training_is_refused(samples, split, near_duplicates, subset):
    victim = split.loc[split["subset"] == subset, "case_id"].iloc[0]
    stolen = pd.DataFrame([{"sample_id": f"{victim}_flipped", "case_id": victim, "transform": "flipped"}])
    leaking = pd.concat([samples, stolen.assign(subset="train")], ignore_index=True)
    for allow_leak in (False, True):  # allow_leak does not apply, since the protocol does not leak
        with pytest.raises(InputError, match=f"{subset} {victim}: the training sample {victim}_flipped shows the same"):
            guard_samples(leaking, split, near_duplicates, LeakGuardSettings(allow_leak=allow_leak))


@pytest.mark.parametrize(
    "alter",
    [
        lambda image: image[:, ::-1],
        lambda image: image[::-1],
        lambda image: np.clip(image * 0.9 + 10, 0, 255).astype(np.uint8),
    ],
)
def test_near_duplicates_in_different_subsets_are_refused(samples, split, images, hashes, photographs, alter):
    test, train = (split.loc[split["subset"] == name, "case_id"].iloc[0] for name in ("test", "train"))
    forged = hashes | {test: hash_views(alter(images[train]))}
    near_duplicates = list_near_duplicates(photographs, forged, LeakGuardSettings())
    with pytest.raises(InputError) as caught:
        guard_samples(samples, split, near_duplicates, LeakGuardSettings())
    first, second = sorted([test, train])
    assert f"{first} (" in str(caught.value)
    assert f"and {second} (" in str(caught.value)
    assert "1 problem\n" in str(caught.value)


def test_near_duplicates_in_one_subset_are_accepted(samples, split, hashes, photographs):
    one, other = split.loc[split["subset"] == "train", "case_id"].iloc[:2]
    near_duplicates = list_near_duplicates(photographs, hashes | {other: hashes[one]}, LeakGuardSettings())
    assert list(near_duplicates["near_duplicate"]) == [True]
    assert find_near_duplicate_leaks(samples, split, near_duplicates) == []


def test_near_duplicate_of_a_case_that_the_split_dropped_is_accepted(samples, split, hashes, photographs):
    dropped, scored = (
        split[split["subset"] == "train"]["case_id"].iloc[0],
        split[split["subset"] == "test"]["case_id"].iloc[0],
    )
    near_duplicates = list_near_duplicates(photographs, hashes | {dropped: hashes[scored]}, LeakGuardSettings())
    rest = samples[samples["case_id"] != dropped], split[split["case_id"] != dropped]
    assert find_near_duplicate_leaks(*rest, near_duplicates) == []


def test_synthetic_cases_are_never_near_duplicates(cases, hashes):
    first, second = sorted(hashes)[:2]
    near_duplicates = list_near_duplicates(cases, hashes | {second: hashes[first]}, LeakGuardSettings())
    assert near_duplicates[["case_id", "other_case_id", "differing_bits"]].to_numpy().tolist() == [[first, second, 0]]
    assert not near_duplicates["near_duplicate"].any()


@pytest.mark.parametrize("protocol", ["stratified", "folds"])
def test_near_duplicates_stay_together(photographs, images, masks, hashes, protocol):
    """This includes chains of near-duplicates."""
    names = sorted(hashes)
    forged = dict(hashes)
    for number in range(0, 18, 3):  # six groups of three near-duplicates
        for other in names[number + 1 : number + 3]:
            forged[other] = hash_views(images[names[number]][:, ::-1])
    near_duplicates = list_near_duplicates(photographs, forged, LeakGuardSettings())
    assert near_duplicates["near_duplicate"].sum() == 18
    table = photographs.assign(diagnosis="")
    for seed in range(5):
        split = split_cases(table, SplitSettings(protocol=protocol, validation_cases=3, seed=seed), near_duplicates)
        assert set(split["subset"]) == {"train", "validation", "test"}
        assert find_near_duplicate_leaks(make_samples(images, masks, split, COPIES)[0], split, near_duplicates) == []


def test_rotated_near_duplicates_are_found_with_padding(raw):
    """The native image is hashed, since padding changes a rotated image."""
    rotated = {
        part: {**raw[part], "SYN021": lambda part=part: raw[part]["SYN003"]().transpose(Image.Transpose.ROTATE_90)}
        for part in ("ph2_images", "ph2_masks")
    }
    table = parse_annotations(synthetic.annotations_text(21))
    size = SMALL.model_copy(update={"framing": "pad"})
    read = read_cases(**rotated, ph2_annotations=table, image_size=size, data=DataSettings(name="mine"))
    near_duplicates = list_near_duplicates(read.cases, read.perceptual_hashes, LeakGuardSettings())
    assert near_duplicates[["case_id", "other_case_id", "near_duplicate"]].to_numpy().tolist() == [
        ["SYN003", "SYN021", True]
    ]


def test_given_split_with_near_duplicates_is_refused(photographs, images, masks, hashes):
    given = photographs.assign(subset=["train", "validation", "test", *["train"] * 17])
    near_duplicates = list_near_duplicates(photographs, hashes | {"SYN003": hashes["SYN001"]}, LeakGuardSettings())
    split = split_cases(given, SplitSettings(protocol="given"), near_duplicates)
    assert list(split["subset"][:3]) == ["train", "validation", "test"]
    samples = make_samples(images, masks, split, COPIES)[0]
    with pytest.raises(InputError, match=r"SYN001 \(train\) and SYN003 \(test\) are near-duplicates"):
        guard_samples(samples, split, near_duplicates, LeakGuardSettings())


def test_near_duplicates_in_validation_and_test_are_not_said_to_leak_into_training(photographs, images, masks, hashes):
    given = photographs.assign(subset=["validation", "train", "test", *["train"] * 17])
    near_duplicates = list_near_duplicates(photographs, hashes | {"SYN003": hashes["SYN001"]}, LeakGuardSettings())
    split = split_cases(given, SplitSettings(protocol="given"), near_duplicates)
    samples = make_samples(images, masks, split, COPIES)[0]
    with pytest.raises(InputError, match=r"^Some cases or their near-duplicates are in more than one subset"):
        guard_samples(samples, split, near_duplicates, LeakGuardSettings())
