"""Images of all kinds, which are read as displayed or refused."""

import numpy as np
import pytest
from PIL import Image

from lesion_segmentation.images.read import to_mask, to_rgb

COLORS = np.zeros((4, 6, 3), np.uint8)
COLORS[:, :3] = (200, 30, 10)


def make_rotated() -> Image.Image:
    """Make an image that is stored rotated, with its orientation in EXIF."""
    image = Image.fromarray(np.rot90(COLORS, k=1))  # 6 x 4
    exif = image.getexif()
    exif[0x0112] = 6  # display rotated by 90 degrees clockwise
    image.info["exif"] = exif.tobytes()
    return image


def make_opaque() -> Image.Image:
    return Image.fromarray(np.dstack([COLORS, np.full((4, 6), 255, np.uint8)]), "RGBA")


def test_images_are_read_as_displayed(tmp_path):
    assert np.array_equal(to_rgb(Image.fromarray(COLORS)), COLORS)
    assert np.array_equal(to_rgb(Image.fromarray(COLORS).quantize(4)), COLORS)  # a palette
    assert np.array_equal(to_rgb(make_opaque()), COLORS)
    make_rotated().save(tmp_path / "rotated.png", exif=make_rotated().getexif())
    with Image.open(tmp_path / "rotated.png") as image:
        assert np.array_equal(to_rgb(image), COLORS)


def test_16_bits_are_scaled_and_not_clipped(tmp_path):
    deep = np.array([[0, 257 * 100, 65_535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    with Image.open(tmp_path / "deep.png") as image:
        assert to_rgb(image)[0, :, 0].tolist() == [0, 100, 255]
        with pytest.raises(ValueError, match="3 grey values found"):
            to_mask(image)
    Image.fromarray(np.array([[0, 1, 1]], np.uint16)).save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as image:
        assert to_mask(image).tolist() == [[False, True, True]]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.fromarray(np.dstack([COLORS, np.zeros((4, 6), np.uint8)]), "RGBA"), "transparent pixels"),
        (Image.new("CMYK", (4, 4)), "CMYK"),
        (Image.fromarray(np.zeros((4, 4), np.float32)), "floats"),
        (Image.fromarray(np.full((4, 4), 70_000, np.int32)), "70000; expected 8 or 16 bits"),
        (Image.new("LAB", (4, 4)), "LAB"),
    ],
)
def test_ambiguous_pixels_are_refused(image, message):
    with pytest.raises(ValueError, match=message):
        to_rgb(image)
    with pytest.raises(ValueError, match=message):
        to_mask(image)


def test_mask_in_alpha_channel_is_refused_with_remedy():
    alpha = np.zeros((4, 6), np.uint8)
    alpha[1:3, 2:4] = 255
    with pytest.raises(ValueError, match="alpha channel is not read: store the mask as black and white"):
        to_mask(Image.fromarray(np.dstack([COLORS, alpha]), "RGBA"))
