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
    find_near_duplicates,
    guard_samples,
)
from lesion_segmentation.data.near_duplicates import list_near_duplicates
from lesion_segmentation.data.perceptual_hash import hash_views
from lesion_segmentation.data.samples import AugmentationSettings, make_samples
from lesion_segmentation.data.sources import synthetic
from lesion_segmentation.data.splits import SplitSettings, check_origin, split_cases, split_hash

COPIES = AugmentationSettings(copies=("rotated", "flipped"))


@pytest.fixture
def split(cases) -> pd.DataFrame:
    return split_cases(cases, SplitSettings(protocol="stratified"))


@pytest.fixture
def photographs(cases) -> pd.DataFrame:
    """The same cases, as if they had been photographed: what is drawn may look alike."""
    return cases.assign(source="photographs")


@pytest.fixture
def alike(photographs, hashes) -> pd.DataFrame:
    return list_near_duplicates(photographs, hashes, LeakGuardSettings())


@pytest.fixture
def samples(images, masks, split) -> pd.DataFrame:
    return make_samples(images, masks, split, COPIES)[0]


def test_clean_samples_pass_and_name_their_split(samples, split, alike):
    guarded = guard_samples(samples, split, alike, LeakGuardSettings())
    pd.testing.assert_frame_equal(guarded.drop(columns="split_hash"), samples)
    assert set(guarded["split_hash"]) == {split_hash(split)}
    check_origin(guarded, split)


def test_samples_guarded_under_another_split_are_refused(samples, split, alike, cases):
    guarded = guard_samples(samples, split, alike, LeakGuardSettings())
    other = split_cases(cases, SplitSettings(protocol="stratified", seed=1))
    with pytest.raises(InputError, match="made and guarded under split"):
        check_origin(guarded, other)


@pytest.mark.parametrize("subset", ["validation", "test"])
def test_a_copy_of_a_scored_case_in_training_fails_the_run(samples, split, alike, subset):
    victim = split.loc[split["subset"] == subset, "case_id"].iloc[0]
    stolen = pd.DataFrame([{"sample_id": f"{victim}_flipped", "case_id": victim, "transform": "flipped"}])
    leaking = pd.concat([samples, stolen.assign(subset="train")], ignore_index=True)
    for allow_leak in (False, True):  # allowed or not: this is not the published protocol
        with pytest.raises(InputError, match=f"{subset} {victim}: the training sample {victim}_flipped shows the same"):
            guard_samples(leaking, split, alike, LeakGuardSettings(allow_leak=allow_leak))


@pytest.mark.parametrize(
    "alter",
    [
        lambda image: image[:, ::-1],
        lambda image: image[::-1],
        lambda image: np.clip(image * 0.9 + 10, 0, 255).astype(np.uint8),
    ],
)
def test_near_duplicates_across_subsets_fail_the_run(samples, split, images, hashes, photographs, alter):
    test, train = (split.loc[split["subset"] == name, "case_id"].iloc[0] for name in ("test", "train"))
    forged = hashes | {test: hash_views(alter(images[train]))}
    alike = list_near_duplicates(photographs, forged, LeakGuardSettings())
    with pytest.raises(InputError) as caught:
        guard_samples(samples, split, alike, LeakGuardSettings())
    first, second = sorted([test, train])
    assert f"{first} (" in str(caught.value)
    assert f"and {second} (" in str(caught.value)
    assert "1 problem\n" in str(caught.value)


def test_near_duplicates_within_a_subset_do_no_harm(samples, split, hashes, photographs):
    one, other = split.loc[split["subset"] == "train", "case_id"].iloc[:2]
    alike = list_near_duplicates(photographs, hashes | {other: hashes[one]}, LeakGuardSettings())
    assert list(alike["near_duplicate"]) == [True]
    assert find_near_duplicates(samples, split, alike) == []


def test_drawn_cases_may_look_alike(cases, hashes):
    first, second = sorted(hashes)[:2]
    alike = list_near_duplicates(cases, hashes | {second: hashes[first]}, LeakGuardSettings())
    assert alike[["case_id", "other_case_id", "differing_bits"]].to_numpy().tolist() == [[first, second, 0]]
    assert not alike["near_duplicate"].any()


@pytest.mark.parametrize("protocol", ["stratified", "folds"])
def test_near_duplicates_are_drawn_together(photographs, images, masks, hashes, protocol):
    """Chains of them, too: whatever is drawn, the guard finds nothing."""
    names = sorted(hashes)
    forged = dict(hashes)
    for number in range(0, 18, 3):  # six groups of three, of which the first and the last are alike through the second
        for other in names[number + 1 : number + 3]:
            forged[other] = hash_views(images[names[number]][:, ::-1])
    alike = list_near_duplicates(photographs, forged, LeakGuardSettings())
    assert alike["near_duplicate"].sum() == 18
    table = photographs.assign(diagnosis="")
    for seed in range(5):
        split = split_cases(table, SplitSettings(protocol=protocol, validation_cases=3, seed=seed), alike)
        assert set(split["subset"]) == {"train", "validation", "test"}
        assert find_near_duplicates(make_samples(images, masks, split, COPIES)[0], split, alike) == []


def test_pictures_are_known_again_when_they_were_turned_whatever_they_are_trained_at(raw):
    """A turned picture that is padded looks like no other; what is hashed is the picture as it came."""
    turned = {
        part: {**raw[part], "SYN021": lambda part=part: raw[part]["SYN003"]().transpose(Image.Transpose.ROTATE_90)}
        for part in ("ph2_images", "ph2_masks")
    }
    table = parse_annotations(synthetic.annotations_text(21))
    size = SMALL.model_copy(update={"framing": "pad"})
    read = read_cases(**turned, ph2_annotations=table, image_size=size, data=DataSettings(name="mine"))
    alike = list_near_duplicates(read.cases, read.perceptual_hashes, LeakGuardSettings())
    assert alike[["case_id", "other_case_id", "near_duplicate"]].to_numpy().tolist() == [["SYN003", "SYN021", True]]


def test_a_given_split_is_refused_for_near_duplicates(photographs, images, masks, hashes):
    given = photographs.assign(subset=["train", "validation", "test", *["train"] * 17])
    alike = list_near_duplicates(photographs, hashes | {"SYN003": hashes["SYN001"]}, LeakGuardSettings())
    split = split_cases(given, SplitSettings(protocol="given"), alike)
    assert list(split["subset"][:3]) == ["train", "validation", "test"]
    samples = make_samples(images, masks, split, COPIES)[0]
    with pytest.raises(InputError, match=r"SYN001 \(train\) and SYN003 \(test\) look alike"):
        guard_samples(samples, split, alike, LeakGuardSettings())
