import numpy as np
import pytest
from torch import tensor
from torch.nn.functional import interpolate

from lesion_segmentation.resizing import resize_image, resize_mask, restore_probability


def test_probabilities_are_enlarged_bilinearly():
    small = np.random.default_rng(0).random((6, 8)).astype(np.float32)
    expected = interpolate(tensor(small)[None, None], size=(18, 16), mode="bilinear")[0, 0].numpy()
    assert restore_probability(small, 18, 16) == pytest.approx(expected, abs=1e-5)


def test_masks_stay_binary_and_sizes_are_height_and_width():
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 20:50] = 1
    assert set(np.unique(resize_mask(mask, 13, 17))) == {0, 1}
    assert resize_mask(mask, 13, 17).shape == (13, 17)
    assert resize_image(np.zeros((40, 60, 3), np.uint8), 13, 17).shape == (13, 17, 3)


def test_the_same_size_changes_nothing():
    generator = np.random.default_rng(0)
    image, probability = generator.integers(0, 256, (8, 9, 3), dtype=np.uint8), generator.random((8, 9), np.float32)
    assert np.array_equal(resize_image(image, 8, 9), image)
    assert np.array_equal(restore_probability(probability, 8, 9), probability)
