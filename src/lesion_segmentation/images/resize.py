"""Pictures, masks and probability maps at another size, each in the one way that the project uses for it."""

from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

Resizing = Literal["lanczos", "cubic", "linear"]
"""The filter that images are made smaller with, over as many pixels as one of the result covers: `lanczos` as the
paper's code does; `cubic` and `linear` are also ONNX's Resize of 8 bits (antialias, exclude_outside, cubic_coeff_a
-0.5) to one grey level."""

Framing = Literal["stretch", "pad"]
"""How a picture of other proportions comes to the wanted size: `stretch` takes its sides as they come, as the paper;
`pad` keeps its proportions and leaves black beside it, unless they differ by SLIGHT at most, which is stretched."""

SLIGHT = 0.03
"""PH2's pictures differ by 0.5% at most from 4 to 3."""

_FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "cubic": Image.Resampling.BICUBIC,
    "linear": Image.Resampling.BILINEAR,
}


class Box(NamedTuple):
    """The part of a resized picture that shows something, in pixels."""

    top: int
    left: int
    height: int
    width: int


def frame(native: tuple[int, ...], height: int, width: int, framing: Framing) -> Box:
    """Where a picture of the `native` shape (H, W, ...) lies once it is height x width."""
    rows, columns = height / native[0], width / native[1]
    if framing == "stretch" or max(rows, columns) / min(rows, columns) <= 1 + SLIGHT:
        return Box(0, 0, height, width)
    scale = min(rows, columns)
    inner = max(1, round(native[0] * scale)), max(1, round(native[1] * scale))
    return Box((height - inner[0]) // 2, (width - inner[1]) // 2, *inner)


def resize_image(
    image: np.ndarray, height: int, width: int, resizing: Resizing = "lanczos", framing: Framing = "stretch"
) -> np.ndarray:
    """uint8 (H, W, 3) to (height, width, 3)."""
    box = frame(image.shape[:2], height, width, framing)
    small = Image.fromarray(image).resize((box.width, box.height), _FILTERS[resizing])
    return _place(np.asarray(small), box, height, width)


def resize_mask(mask: np.ndarray, height: int, width: int, framing: Framing = "stretch") -> np.ndarray:
    """0 and 1, (H, W), to uint8 (height, width) by the nearest neighbour, which keeps masks binary."""
    box = frame(mask.shape, height, width, framing)
    small = Image.fromarray(mask.astype(bool)).resize((box.width, box.height), Image.Resampling.NEAREST)
    return _place(np.asarray(small, dtype=np.uint8), box, height, width)


def restore_probability(probability: np.ndarray, height: int, width: int, framing: Framing = "stretch") -> np.ndarray:
    """The map (h, w) of a resized picture at the picture's own size, float32 (height, width), bilinear."""
    box = frame((height, width), probability.shape[0], probability.shape[1], framing)
    shown = probability[box.top : box.top + box.height, box.left : box.left + box.width].astype(np.float32, copy=False)
    if shown.shape == (height, width):
        return shown
    return np.asarray(Image.fromarray(shown).resize((width, height), Image.Resampling.BILINEAR))


def _place(small: np.ndarray, box: Box, height: int, width: int) -> np.ndarray:
    """On black."""
    if small.shape[:2] == (height, width):
        return small
    whole = np.zeros((height, width, *small.shape[2:]), dtype=small.dtype)
    whole[box.top : box.top + box.height, box.left : box.left + box.width] = small
    return whole
