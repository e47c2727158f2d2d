"""Pillow's resampling as tensor operations that ONNX can express.

ONNX's own `Resize` differs from Pillow by one grey level in some pixels, and networks amplify such differences.
These functions repeat the fixed-point arithmetic of Pillow's `Resample.c`, so that the exported file resizes bit for
bit as `lesion_segmentation.images.resize` does. Image sizes are symbolic during an export, so all values that depend on
them are zero-dimensional float64 tensors.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lesion_segmentation.images.resize import STRETCH_LIMIT, Framing

FIXED_POINT = float(1 << 22)
"""Pillow rounds the weights of 8-bit images to 22 bits after the binary point."""


class Span(NamedTuple):
    """The pixels from `start` to `start + size`, exclusive, of an axis of `length` pixels."""

    start: Tensor
    size: Tensor
    length: int


class Axis(NamedTuple):
    """One image axis: the span of all its pixels at the native size, and the span that they fill in the input."""

    native: Span
    framed: Span


def _cubic(distance: Tensor) -> Tensor:
    near = ((1.5 * distance - 2.5) * distance) * distance + 1
    far = (((distance - 5) * distance + 8) * distance - 4) * -0.5
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))


def _linear(distance: Tensor) -> Tensor:
    return (1 - distance).clamp(min=0.0)


KERNELS = {"cubic": (_cubic, 2.0), "linear": (_linear, 1.0)}
"""By name, the weight of a source pixel as a function of its distance, and the distance beyond which it is 0."""


def frame_axes(native: tuple[int, int], size: tuple[int, int], framing: Framing) -> tuple[Axis, Axis]:
    """Return the vertical and the horizontal axis, with spans as `lesion_segmentation.images.resize.frame` places them.

    Args:
        native: Height and width of the image, possibly symbolic.
        size: Height and width of the network's input.
        framing: The method to fit an image of another aspect ratio.
    """
    sides = [torch.scalar_tensor(side, dtype=torch.float64) for side in native]
    factors = [length / side for length, side in zip(size, sides, strict=True)]
    least = torch.minimum(*factors)
    stretched = torch.maximum(*factors) / least <= (math.inf if framing == "stretch" else 1 + STRETCH_LIMIT)
    axes = []
    for length, count, side in zip(size, native, sides, strict=True):
        inner = torch.where(stretched, float(length), (side * least).round().clamp(min=1.0))
        framed = Span(((length - inner) / 2).floor(), inner, length)
        axes.append(Axis(Span(torch.zeros_like(side), side, count), framed))
    return axes[0], axes[1]


def resize_images(pixels: Tensor, rows: Axis, columns: Axis, kernel: str) -> Tensor:
    """Resize 8-bit images as Pillow does, and pad them with black.

    The sums are computed in float64, which represents sums of 8-bit pixels times 22-bit weights exactly.

    Args:
        pixels: Images (N, C, H, W), 0 to 255, uint8.
        rows: The vertical axis.
        columns: The horizontal axis.
        kernel: A key of KERNELS.

    Returns:
        Whole numbers from 0 to 255, float32 (N, C, h, w), where (h, w) is the size of the input.
    """
    vertical, horizontal = (_to_fixed_point(resampling_weights(*axis, kernel)) for axis in (rows, columns))
    lost_rows, lost_columns = (axis.native.size - axis.framed.size for axis in (rows, columns))
    # The order of the two directions affects the rounding. This condition was found by comparison with Pillow 13.
    rows_first = (lost_rows > 0) & (2 * lost_columns < lost_rows)
    return torch.cond(
        rows_first,
        lambda image, left, right: _round((_round(left @ image)) @ right).float(),
        lambda image, left, right: _round(left @ _round(image @ right)).float(),
        (pixels.double(), vertical, horizontal.mT),
    )


def restore_maps(maps: Tensor, rows: Axis, columns: Axis) -> Tensor:
    """Resize maps, float32 (N, 1, h, w), bilinearly to the native size of the images, without the padding.

    Returns:
        float32 (N, H, W), equal to Pillow's result except for rounding in the last bits.
    """
    vertical, horizontal = (resampling_weights(axis.framed, axis.native, "linear").float() for axis in (rows, columns))
    return (vertical @ (maps @ horizontal.mT)).squeeze(1)


def resampling_weights(source: Span, target: Span, kernel: str) -> Tensor:
    """Return the weight of each source pixel in each target pixel, float64 (target length, source length).

    The weights of a target pixel sum to 1, or are all 0 outside the span of the target.
    """
    function, reach = KERNELS[kernel]
    scale = source.size / target.size
    stretch = scale.clamp(min=1.0)
    support = reach * stretch
    pixel = torch.arange(source.length, dtype=torch.float64) - source.start
    index = torch.arange(target.length, dtype=torch.float64).unsqueeze(1) - target.start
    center = (index + 0.5) * scale
    first = (center - support + 0.5).clamp(min=0.0).floor()
    end = torch.minimum((center + support + 0.5).floor(), source.size)
    inside = (first <= pixel) & (pixel < end) & (index >= 0) & (index < target.size)
    weights = torch.where(inside, function(((pixel - center + 0.5) / stretch).abs()), 0.0)
    return torch.where(inside, weights / weights.sum(dim=1, keepdim=True), 0.0)


def _to_fixed_point(weights: Tensor) -> Tensor:
    return weights.sign() * (weights.abs() * FIXED_POINT + 0.5).floor()


def _round(sums: Tensor) -> Tensor:
    return (sums / FIXED_POINT + 0.5).floor().clamp(0.0, 255.0)
