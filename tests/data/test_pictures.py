"""Pictures of every kind: read as they are meant, or refused by name."""

import numpy as np
import pytest
from PIL import Image

from lesion_segmentation.images.read import to_mask, to_rgb

COLORS = np.zeros((4, 6, 3), np.uint8)
COLORS[:, :3] = (200, 30, 10)


def turned() -> Image.Image:
    """Held upright by a camera that says so in EXIF: stored turned."""
    picture = Image.fromarray(np.rot90(COLORS, k=1))  # 6 x 4
    exif = picture.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    picture.info["exif"] = exif.tobytes()
    return picture


def opaque() -> Image.Image:
    return Image.fromarray(np.dstack([COLORS, np.full((4, 6), 255, np.uint8)]), "RGBA")


def test_kinds_that_mean_one_thing_are_read_so(tmp_path):
    assert np.array_equal(to_rgb(Image.fromarray(COLORS)), COLORS)
    assert np.array_equal(to_rgb(Image.fromarray(COLORS).quantize(4)), COLORS)  # a palette, by its colours
    assert np.array_equal(to_rgb(opaque()), COLORS)
    turned().save(tmp_path / "turned.png", exif=turned().getexif())
    with Image.open(tmp_path / "turned.png") as picture:
        assert np.array_equal(to_rgb(picture), COLORS)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    deep = np.array([[0, 257 * 100, 65_535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    with Image.open(tmp_path / "deep.png") as picture:
        assert to_rgb(picture)[0, :, 0].tolist() == [0, 100, 255]
        with pytest.raises(ValueError, match="3 grey values found"):
            to_mask(picture)
    Image.fromarray(np.array([[0, 1, 1]], np.uint16)).save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as picture:
        assert to_mask(picture).tolist() == [[False, True, True]]


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (Image.fromarray(np.dstack([COLORS, np.zeros((4, 6), np.uint8)]), "RGBA"), "transparent pixels"),
        (Image.new("CMYK", (4, 4)), "CMYK"),
        (Image.fromarray(np.zeros((4, 4), np.float32)), "floats"),
        (Image.fromarray(np.full((4, 4), 70_000, np.int32)), "70000; expected 8 or 16 bits"),
        (Image.new("LAB", (4, 4)), "LAB"),
    ],
)
def test_kinds_that_mean_no_one_thing_are_refused_by_name(picture, message):
    with pytest.raises(ValueError, match=message):
        to_rgb(picture)
    with pytest.raises(ValueError, match=message):
        to_mask(picture)


def test_a_mask_in_the_alpha_channel_is_refused_with_what_to_do():
    alpha = np.zeros((4, 6), np.uint8)
    alpha[1:3, 2:4] = 255
    with pytest.raises(ValueError, match="alpha channel is not read: store it as black and white"):
        to_mask(Image.fromarray(np.dstack([COLORS, alpha]), "RGBA"))
