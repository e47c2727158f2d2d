import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor
from torch.nn.functional import interpolate

from lesion_segmentation.images.resize import frame, resize_image, resize_mask, restore_probability


def test_probabilities_are_resized_bilinearly():
    small = np.random.default_rng(0).random((6, 8)).astype(np.float32)
    expected = interpolate(tensor(small)[None, None], size=(18, 16), mode="bilinear")[0, 0].numpy()
    assert restore_probability(small, 18, 16) == pytest.approx(expected, abs=1e-5)


def test_masks_stay_binary_and_sizes_are_height_by_width():
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 20:50] = 1
    assert set(np.unique(resize_mask(mask, 13, 17))) == {0, 1}
    assert resize_mask(mask, 13, 17).shape == (13, 17)
    assert resize_image(np.zeros((40, 60, 3), np.uint8), 13, 17).shape == (13, 17, 3)


def test_resizing_to_the_same_size_changes_nothing():
    generator = np.random.default_rng(0)
    image, probability = generator.integers(0, 256, (8, 9, 3), dtype=np.uint8), generator.random((8, 9), np.float32)
    assert np.array_equal(resize_image(image, 8, 9), image)
    assert np.array_equal(restore_probability(probability, 8, 9), probability)


@given(
    native=st.tuples(st.integers(20, 300), st.integers(20, 300)),
    wanted=st.tuples(st.integers(32, 96), st.integers(32, 96)),
)
def test_padding_keeps_the_aspect_ratio_and_is_removed_from_probabilities(native, wanted):
    box = frame(native, *wanted, "pad")
    assert box.top + box.height <= wanted[0]
    assert box.left + box.width <= wanted[1]
    assert box.height == wanted[0] or box.width == wanted[1]
    if (box.height, box.width) != wanted:
        scales = box.height / native[0], box.width / native[1]
        assert abs(scales[0] - scales[1]) <= 1 / min(native)
    image = np.full((*native, 3), 200, np.uint8)
    padded = resize_image(image, *wanted, "cubic", "pad")
    assert (padded == 200).all(axis=2).sum() == box.height * box.width
    mask = resize_mask(np.ones(native, np.uint8), *wanted, "pad")
    assert np.array_equal(mask == 1, (padded == 200).all(axis=2))
    restored = restore_probability(mask.astype(np.float32), *native, "pad")
    assert restored.shape == native
    assert (restored == 1).all()


def test_small_differences_of_the_aspect_ratio_are_stretched():
    image = np.random.default_rng(0).integers(0, 256, (572, 765, 3), dtype=np.uint8)  # as in PH2, 0.3% from 4:3
    assert np.array_equal(resize_image(image, 192, 256, "cubic", "pad"), resize_image(image, 192, 256, "cubic"))


@pytest.mark.parametrize(("resizing", "mode"), [("cubic", "bicubic"), ("linear", "bilinear")])
def test_filters_equal_antialiased_interpolation_of_pytorch(resizing, mode):
    image = np.random.default_rng(0).integers(0, 256, (150, 200, 3), dtype=np.uint8)
    found = resize_image(image, 48, 64, resizing)
    reference = interpolate(tensor(image).permute(2, 0, 1)[None].float(), size=(48, 64), mode=mode, antialias=True)
    expected = reference[0].permute(1, 2, 0).clamp(0, 255).numpy()
    assert np.abs(found - expected).max() <= 1.6  # Pillow rounds twice
    assert not np.array_equal(found, resize_image(image, 48, 64))
