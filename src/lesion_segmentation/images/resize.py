"""Resizing of images, masks and probability maps."""

from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

Resizing = Literal["lanczos", "cubic", "linear"]
"""The antialiasing filter for images. The paper's code uses `lanczos`. `cubic` and `linear` equal ONNX's Resize on 8
bits (antialias, exclude_outside, cubic_coeff_a = -0.5) up to one grey level."""

Framing = Literal["stretch", "pad"]
"""The method to fit an image of another aspect ratio. `stretch` scales both sides independently, as the paper's code
does. `pad` keeps the aspect ratio and pads with black, but stretches differences of at most STRETCH_LIMIT."""

STRETCH_LIMIT = 0.03
"""The aspect ratios of PH2's images differ from 4:3 by at most 0.5%."""

_FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "cubic": Image.Resampling.BICUBIC,
    "linear": Image.Resampling.BILINEAR,
}


class Box(NamedTuple):
    """Rectangle, in pixels, that the image covers after resizing. Everything outside is padding."""

    top: int
    left: int
    height: int
    width: int


def frame(native: tuple[int, ...], height: int, width: int, framing: Framing) -> Box:
    """Return the rectangle that an image of the `native` shape (H, W, ...) covers in height x width pixels."""
    rows, columns = height / native[0], width / native[1]
    if framing == "stretch" or max(rows, columns) / min(rows, columns) <= 1 + STRETCH_LIMIT:
        return Box(0, 0, height, width)
    scale = min(rows, columns)
    inner = max(1, round(native[0] * scale)), max(1, round(native[1] * scale))
    return Box((height - inner[0]) // 2, (width - inner[1]) // 2, *inner)


def resize_image(
    image: np.ndarray, height: int, width: int, resizing: Resizing = "lanczos", framing: Framing = "stretch"
) -> np.ndarray:
    """Resize uint8 (H, W, 3) to (height, width, 3)."""
    box = frame(image.shape[:2], height, width, framing)
    small = Image.fromarray(image).resize((box.width, box.height), _FILTERS[resizing])
    return _pad(np.asarray(small), box, height, width)


def resize_mask(mask: np.ndarray, height: int, width: int, framing: Framing = "stretch") -> np.ndarray:
    """Resize a mask (H, W) of 0 and 1 to uint8 (height, width) by nearest neighbour, which keeps it binary."""
    box = frame(mask.shape, height, width, framing)
    small = Image.fromarray(mask.astype(bool)).resize((box.width, box.height), Image.Resampling.NEAREST)
    return _pad(np.asarray(small, dtype=np.uint8), box, height, width)


def restore_probability(probability: np.ndarray, height: int, width: int, framing: Framing = "stretch") -> np.ndarray:
    """Resize the probability map (h, w) of a resized image, without padding, bilinearly to float32 (height, width)."""
    box = frame((height, width), probability.shape[0], probability.shape[1], framing)
    shown = probability[box.top : box.top + box.height, box.left : box.left + box.width].astype(np.float32, copy=False)
    if shown.shape == (height, width):
        return shown
    return np.asarray(Image.fromarray(shown).resize((width, height), Image.Resampling.BILINEAR))


def _pad(small: np.ndarray, box: Box, height: int, width: int) -> np.ndarray:
    if small.shape[:2] == (height, width):
        return small
    whole = np.zeros((height, width, *small.shape[2:]), dtype=small.dtype)
    whole[box.top : box.top + box.height, box.left : box.left + box.width] = small
    return whole
