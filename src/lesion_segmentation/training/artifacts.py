"""Random artifacts of dermoscopic images: hairs, and the dark corners outside the round frame of a dermoscope.

PH2's experts ignore hairs and annotate no lesion in dark corners.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Generator, Tensor
from torch.nn import functional as F


class RandomParameters:
    """A dataclass of tensors, or of further random parameters, with one row per image; None where nothing changes."""

    def to(self, device: torch.device) -> Self:
        """Copy all tensors to a device."""
        return type(self)(**{name: value.to(device) for name, value in self._present().items()})

    def __getitem__(self, indices: Tensor | slice) -> Self:
        return type(self)(**{name: value[indices] for name, value in self._present().items()})

    def _present(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Hairs(RandomParameters):
    """Random parameters for N images with up to K hairs each.

    Attributes:
        points: (N, K, 3, 2), ends and control point of a quadratic Bezier curve; in the image, x and y are -1 to 1.
        darkness: (N, K), opacity of the hair, 0 to 1; 0 if there is no hair.
        color: (N, 3, 1, 1), 0 to 1.
    """

    points: Tensor
    darkness: Tensor
    color: Tensor


def sample_hairs(count: int, most: int, generator: Generator) -> Hairs:
    """Sample 0 to `most` hairs for each of `count` images, on the CPU."""
    numbers = torch.randint(most + 1, (count, 1), generator=generator)
    points = 2.4 * torch.rand(count, most, 3, 2, generator=generator) - 1.2
    darkness = 0.3 + 0.6 * torch.rand(count, most, generator=generator)
    color = 0.25 * torch.rand(count, 3, 1, 1, generator=generator)
    return Hairs(points, torch.where(torch.arange(most) < numbers, darkness, 0.0), color)


def paint_hairs(images: Tensor, hairs: Hairs) -> Tensor:
    """Paint hairs on images (N, 3, H, W), 0 to 1; a hair is one pixel wide with soft edges."""
    count, _, height, width = images.shape
    steps = torch.linspace(0, 1, height + width, device=images.device)  # more steps than a curve crosses pixels
    weights = torch.stack([(1 - steps) ** 2, 2 * steps * (1 - steps), steps**2])  # Bernstein polynomials, (3, T)
    curves = torch.einsum("nkpc,pt->nktc", hairs.points, weights)
    sides = torch.tensor([width, height], device=images.device)
    pixels = ((curves + 1) / 2 * sides).floor().long()
    inside = ((pixels >= 0) & (pixels < sides)).all(dim=-1)
    positions = (pixels[..., 1] * width + pixels[..., 0]).where(inside, 0).flatten(1)
    values = hairs.darkness[..., None].expand(inside.shape).where(inside, 0.0).flatten(1)
    lines = torch.zeros(count, height * width, device=images.device).scatter_reduce(1, positions, values, "amax")
    lines = lines.view(count, 1, height, width)
    covered = torch.maximum(lines, F.max_pool2d(lines, 3, stride=1, padding=1) / 2)
    return images * (1 - covered) + hairs.color * covered


@dataclass(frozen=True)
class Corners(RandomParameters):
    """Random parameters for N images, each (N, 1, 1, 1).

    Attributes:
        radius: Radius of the bright circle as a fraction of the half diagonal; at 1 it touches the image's corners.
        softness: Width of its edge, in the same unit.
        darkness: Opacity of the frame, 0 to 1; 0 if there is no frame.
    """

    radius: Tensor
    softness: Tensor
    darkness: Tensor


def sample_corners(count: int, share: float, generator: Generator) -> Corners:
    """Sample frames on the CPU, each of `count` images having one with probability `share`."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)

    framed = uniform(0, 1) < share
    return Corners(uniform(0.65, 1), uniform(0.02, 0.2), torch.where(framed, uniform(0.6, 1), 0.0))


def paint_corners(images: Tensor, masks: Tensor, corners: Corners) -> tuple[Tensor, Tensor]:
    """Paint the frames on images (N, 3, H, W), 0 to 1, and clear masks (N, 1, H, W) where a frame is mostly opaque."""
    height, width = images.shape[2:]
    rows = torch.linspace(-height, height, height, device=images.device)[:, None]
    columns = torch.linspace(-width, width, width, device=images.device)
    distance = torch.sqrt(rows**2 + columns**2) / (height**2 + width**2) ** 0.5
    covered = ((distance - corners.radius) / corners.softness).clamp(0, 1) * corners.darkness
    return images * (1 - covered), torch.where(covered > 0.5, 0.0, masks)
