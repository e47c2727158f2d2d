import numpy as np
import pytest
from lesion_segmentation.data.copies import AugmentationSettings, Pair, copy_samples, flip, rotate
from scipy.ndimage import rotate as scipy_rotate

from lesion_segmentation.data.splits import SplitSettings, split_cases


@pytest.fixture
def split(cases):
    return split_cases(cases, SplitSettings(protocol="stratified"))


def test_without_copies_samples_are_the_cases(images, masks, split):
    samples, sample_images, sample_masks = copy_samples(images, masks, split, AugmentationSettings())
    assert set(samples["sample_id"]) == set(split.loc[split["subset"] != "test", "case_id"])
    assert all(np.array_equal(sample_images[case_id], images[case_id]) for case_id in samples["sample_id"])
    assert all(np.array_equal(sample_masks[case_id], masks[case_id]) for case_id in samples["sample_id"])


def test_copies_are_of_training_cases_and_name_them(images, masks, split):
    settings = AugmentationSettings(copies=("rotated", "flipped"))
    samples, sample_images, sample_masks = copy_samples(images, masks, split, settings)
    train = (split["subset"] == "train").sum()
    assert samples["transform"].value_counts().to_dict() == {
        "original": train + (split["subset"] == "validation").sum(),
        "rotated": train,
        "flipped": train,
    }
    assert set(samples.loc[samples["transform"] != "original", "subset"]) == {"train"}
    assert not set(samples["case_id"]) & set(split.loc[split["subset"] == "test", "case_id"])
    assert set(sample_images) == set(sample_masks) == set(samples["sample_id"])
    for row in samples[samples["transform"] == "flipped"].itertuples():
        assert np.array_equal(sample_images[row.sample_id], images[row.case_id][:, ::-1])


def test_image_and_mask_turn_together():
    mask = np.zeros((81, 121), np.uint8)
    mask[20:40, 30:70] = 1
    image = np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)
    turned = rotate(Pair(image, mask), 25)
    assert set(np.unique(turned.mask)) == {0, 1}
    seen = turned.image[..., 0] > 127
    assert (seen & turned.mask.astype(bool)).sum() == turned.mask.sum()  # the mask only shrinks
    assert turned.mask.sum() > 0.85 * seen.sum()
    reference = scipy_rotate(mask.astype(float), 25, reshape=False, order=1) > 0.5
    assert (reference != seen).mean() < 0.005


def test_flip_twice_changes_nothing(images, masks):
    pair = Pair(images["SYN001"], masks["SYN001"])
    assert all(np.array_equal(a, b) for a, b in zip(flip(flip(pair)), pair, strict=True))


def test_inputs_are_not_touched_and_angles_follow_the_seed(images, masks, split):
    before = {case_id: image.copy() for case_id, image in images.items()}
    settings = AugmentationSettings(copies=("rotated",))
    one, two = (copy_samples(images, masks, split, settings)[1] for _ in range(2))
    other = copy_samples(images, masks, split, AugmentationSettings(copies=("rotated",), seed=1))[1]
    assert all(np.array_equal(images[case_id], before[case_id]) for case_id in images)
    assert all(np.array_equal(one[sample_id], two[sample_id]) for sample_id in one)
    assert any(not np.array_equal(one[sample_id], other[sample_id]) for sample_id in one)
