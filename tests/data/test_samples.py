import numpy as np
import pytest

from lesion_segmentation.data.samples import AugmentationSettings, list_scored, make_samples
from lesion_segmentation.data.splits import SplitSettings, split_cases, split_hash


@pytest.fixture
def split(cases):
    return split_cases(cases, SplitSettings(protocol="stratified"))


def test_without_copies_samples_are_the_cases(images, masks, split):
    samples, sample_images, sample_masks = make_samples(images, masks, split, AugmentationSettings())
    assert (
        dict(zip(samples["sample_id"], samples["subset"], strict=True))
        == split.set_index("case_id")["subset"].to_dict()
    )
    assert all(np.array_equal(sample_images[case_id], images[case_id]) for case_id in samples["sample_id"])
    assert all(np.array_equal(sample_masks[case_id], masks[case_id]) for case_id in samples["sample_id"])


def test_only_training_cases_are_copied(images, masks, split):
    settings = AugmentationSettings(copies=("rotated", "flipped"))
    samples, sample_images, sample_masks = make_samples(images, masks, split, settings)
    train = (split["subset"] == "train").sum()
    assert samples["transform"].value_counts().to_dict() == {
        "original": len(split),
        "rotated": train,
        "flipped": train,
    }
    assert set(samples.loc[samples["transform"] != "original", "subset"]) == {"train"}
    assert set(sample_images) == set(sample_masks) == set(samples["sample_id"])
    for row in samples[samples["transform"] == "flipped"].itertuples():
        assert np.array_equal(sample_images[row.sample_id], images[row.case_id][:, ::-1])


def test_each_case_is_scored_once_without_copies(images, masks, split, cases):
    samples, _, _ = make_samples(images, masks, split, AugmentationSettings(copies=("flipped",)))
    scored = list_scored(samples.assign(split_hash=split_hash(split)), split, cases)
    assert sorted(scored["sample_id"]) == sorted(split["case_id"])
    assert set(scored["protocol"]) == {"stratified"}
    assert set(scored["source"]) == {"synthetic"}


def test_copies_keep_the_annotation_style_of_their_case(images, masks, cases):
    styles = ["T1", "synthetic"] * 10
    styled = split_cases(cases.assign(annotation_style=styles), SplitSettings(protocol="stratified"))
    samples = make_samples(images, masks, styled, AugmentationSettings(copies=("flipped",)))[0]
    expected = dict(zip(cases["case_id"], styles, strict=True))
    assert dict(zip(styled["case_id"], styled["annotation_style"], strict=True)) == expected
    assert samples["annotation_style"].tolist() == [expected[case_id] for case_id in samples["case_id"]]


def test_unknown_copies_are_refused():
    with pytest.raises(ValueError, match=r"augmentation\.copies contains turned, expected some of: rotated, flipped"):
        AugmentationSettings(copies=("turned",))


def test_inputs_are_unchanged_and_angles_depend_on_the_seed(images, masks, split):
    before = {case_id: image.copy() for case_id, image in images.items()}
    settings = AugmentationSettings(copies=("rotated",))
    one, two = (make_samples(images, masks, split, settings)[1] for _ in range(2))
    other = make_samples(images, masks, split, AugmentationSettings(copies=("rotated",), seed=1))[1]
    assert all(np.array_equal(images[case_id], before[case_id]) for case_id in images)
    assert all(np.array_equal(one[sample_id], two[sample_id]) for sample_id in one)
    assert any(not np.array_equal(one[sample_id], other[sample_id]) for sample_id in one)
