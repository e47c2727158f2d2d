"""Features of a lesion under its mask, against shapes and colours whose values are known."""

import numpy as np
import pytest
from skimage.draw import ellipse
from skimage.measure import shannon_entropy

from lesion_segmentation.diagnosis.features import COLORS, measure_lesion
from lesion_segmentation.diagnosis.settings import FEATURES

GREY = np.full((100, 140, 3), 128, np.uint8)


@pytest.fixture
def lesion(images, masks):
    return images["SYN003"], masks["SYN003"].astype(bool)


def draw_ellipse(major: float, minor: float, angle: float) -> np.ndarray:
    mask = np.zeros(GREY.shape[:2], bool)
    mask[ellipse(50, 70, major, minor, rotation=angle)] = True
    return mask


@pytest.mark.parametrize("angle", [0, 0.5, 2])
def test_shape_of_an_ellipse(angle):
    found = measure_lesion(GREY, draw_ellipse(40, 20, angle))
    assert found["asymmetry_major"] < 0.03
    assert found["asymmetry_minor"] < 0.03
    assert found["eccentricity"] == pytest.approx(np.sqrt(1 - 0.5**2), abs=0.01)
    assert found["area"] == pytest.approx(np.pi * 40 * 20 / (100 * 140), rel=0.02)
    assert found["diameter"] == pytest.approx(80 / np.hypot(100, 140), rel=0.03)
    assert found["solidity"] > 0.97
    ramanujan = np.pi * (3 * 60 - np.sqrt((3 * 40 + 20) * (40 + 3 * 20)))
    assert found["compactness"] == pytest.approx(ramanujan**2 / (4 * np.pi * np.pi * 40 * 20), rel=0.05)


def test_asymmetry_is_about_the_axis_that_the_shape_breaks():
    mask = np.zeros(GREY.shape[:2], bool)
    mask[40:60, 20:120] = True
    mask[60:80, 20:45] = mask[20:40, 20:45] = True  # a T: symmetric about its length only
    found = measure_lesion(GREY, mask)
    assert found["asymmetry_major"] < 0.02
    assert found["asymmetry_minor"] > 0.2


def test_flips_change_no_feature(lesion):
    image, mask = lesion
    expected = measure_lesion(image, mask)
    for turn in (np.fliplr, np.flipud, lambda a: np.swapaxes(a, 0, 1)):
        found = measure_lesion(np.ascontiguousarray(turn(image)), np.ascontiguousarray(turn(mask)))
        assert found == pytest.approx(expected, rel=1e-6, abs=0.02)


def test_pixels_outside_change_only_contrast_and_border(lesion):
    image, mask = lesion
    before, after = measure_lesion(image, mask), measure_lesion(np.where(mask[..., None], image, 255), mask)
    changed = {name for name in FEATURES if after[name] != pytest.approx(before[name])}
    assert changed == {"lightness_contrast", "green_red_contrast", "blue_yellow_contrast", "border_gradient",
                       "border_gradient_deviation"}  # fmt: skip


def test_colors_that_cover_less_than_five_percent_do_not_count():
    image, mask = GREY.copy(), np.zeros(GREY.shape[:2], bool)
    mask[:100, :100] = True
    image[:50], image[50:94], image[94:98], image[98:] = COLORS[0], COLORS[3], COLORS[1], COLORS[5]
    assert measure_lesion(image, mask)["colors"] == 2
    image[92:98] = COLORS[1]
    assert measure_lesion(image, mask)["colors"] == 3


def test_texture_of_stripes_and_of_a_plain_area():
    stripes, mask = np.zeros_like(GREY), np.ones(GREY.shape[:2], bool)
    assert measure_lesion(stripes, mask)["texture_contrast"] == 0
    assert measure_lesion(stripes, mask)["texture_entropy"] == 0
    stripes[:, ::2] = 255
    found = measure_lesion(stripes, mask)
    height, width = mask.shape
    across, along = 2 * height * (width - 1) + 4 * (height - 1) * (width - 1), 2 * (height - 1) * width
    assert found["texture_contrast"] == pytest.approx(15**2 * across / (across + along))
    pairs = np.repeat([0, 1, 2, 3], [across // 2, across // 2, along // 2, along // 2])
    assert found["texture_entropy"] == pytest.approx(shannon_entropy(pairs))


def test_empty_mask_counts_as_the_whole_image_and_one_pixel_has_features(lesion):
    image, mask = lesion
    assert measure_lesion(image, np.zeros_like(mask)) == measure_lesion(image, np.ones_like(mask))
    one = np.zeros_like(mask)
    one[5, 5] = True
    assert np.isfinite(list(measure_lesion(image, one).values())).all()
