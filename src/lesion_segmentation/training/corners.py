"""RandomParameters dark corners: the round frame of a dermoscope, under which PH2's experts outline nothing."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from lesion_segmentation.training.random_parameters import RandomParameters


@dataclass(frozen=True)
class Corners(RandomParameters):
    """Random numbers for N pictures, each (N, 1, 1, 1).

    Attributes:
        radius: Of the bright circle, as a fraction of the half diagonal: at 1 it touches the picture's corners.
        softness: Width of its edge, in the same measure.
        darkness: How much of the picture is lost outside it; 0 where there is no frame.
    """

    radius: Tensor
    softness: Tensor
    darkness: Tensor


def sample_corners(count: int, share: float, generator: Generator) -> Corners:
    """For a share of `count` pictures, on the CPU."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)

    framed = uniform(0, 1) < share
    return Corners(uniform(0.65, 1), uniform(0.02, 0.2), torch.where(framed, uniform(0.6, 1), 0.0))


def paint_corners(images: Tensor, masks: Tensor, corners: Corners) -> tuple[Tensor, Tensor]:
    """Images (N, 3, H, W), 0 to 1, with their frames, and masks (N, 1, H, W) without what is lost under them."""
    height, width = images.shape[2:]
    rows = torch.linspace(-height, height, height, device=images.device)[:, None]
    columns = torch.linspace(-width, width, width, device=images.device)
    distance = torch.sqrt(rows**2 + columns**2) / (height**2 + width**2) ** 0.5
    covered = ((distance - corners.radius) / corners.softness).clamp(0, 1) * corners.darkness
    return images * (1 - covered), torch.where(covered > 0.5, 0.0, masks)
