"""AugmentationParameters on the fly, on the training device: image and mask move together, colours change in the image alone.

All numbers of an epoch are drawn on the host and sent at once, so a GPU gets the same changes as a CPU, and no step
waits for one.
"""

from dataclasses import dataclass
from typing import Any

import kornia
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from lesion_segmentation.training.corners import Corners, paint_corners, sample_corners
from lesion_segmentation.training.hairs import Hairs, paint_hairs, sample_hairs
from lesion_segmentation.training.settings import OnlineAugmentationSettings

GRID = 5
"""Points each way that an elastic change moves."""


@dataclass(frozen=True)
class AugmentationParameters:
    """Random numbers for N pictures.

    Attributes:
        theta: (N, 2, 3) as F.affine_grid takes it, in normalised coordinates with aligned corners.
        brightness: (N,), added to pixels of 0 to 1.
        contrast, saturation: (N,), factors.
        gain: (N, 3, 1, 1), factors on red, green and blue.
        displacement: (N, 2, GRID, GRID), where points of a grid come from beside that, in the same coordinates.
        hairs, corners: What is drawn over the pictures.
    """

    theta: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    gain: Tensor
    displacement: Tensor | None = None
    hairs: Hairs | None = None
    corners: Corners | None = None

    def to(self, device: torch.device) -> "AugmentationParameters":
        return AugmentationParameters(**{name: value.to(device) for name, value in self._drawn().items()})

    def take(self, indices: Tensor | slice) -> "AugmentationParameters":
        return AugmentationParameters(**{name: value[indices] for name, value in self._drawn().items()})

    def _drawn(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}


def sample_augmentation(
    count: int, height: int, width: int, settings: OnlineAugmentationSettings, generator: Generator
) -> AugmentationParameters:
    """Draw for `count` pictures of `height` x `width`, on the CPU."""

    def uniform(limit: float, *shape: int) -> Tensor:
        return (2 * torch.rand(count, *shape, generator=generator) - 1) * limit

    zoom = torch.exp(uniform(1.0) * torch.log1p(torch.tensor(settings.scale)))
    flips = (
        torch.where(torch.rand(count, 2, generator=generator) < 0.5, -1.0, 1.0)
        if settings.flip
        else torch.ones(count, 2)
    )
    matrix = kornia.geometry.get_affine_matrix2d(
        translations=uniform(settings.shift, 2) * torch.tensor([width, height]),
        center=torch.tensor([(width - 1) / 2, (height - 1) / 2]).expand(count, 2),
        scale=zoom[:, None] * flips,
        angle=uniform(settings.rotation),
    )  # (N, 3, 3): where a pixel goes
    normalised = kornia.geometry.conversions.normalize_homography(matrix, (height, width), (height, width))
    return AugmentationParameters(
        theta=torch.linalg.inv(normalised)[:, :2],  # where a pixel comes from
        brightness=uniform(settings.brightness),
        contrast=1 + uniform(settings.contrast),
        saturation=1 + uniform(settings.saturation),
        gain=1 + uniform(settings.channel_gain, 3, 1, 1),
        displacement=uniform(2 * settings.elastic, 2, GRID, GRID) if settings.elastic else None,
        hairs=sample_hairs(count, settings.hairs, generator) if settings.hairs else None,
        corners=sample_corners(count, settings.corners, generator) if settings.corners else None,
    )


def apply_augmentation(images: Tensor, masks: Tensor, changes: AugmentationParameters) -> tuple[Tensor, Tensor]:
    """Apply what was drawn.

    Args:
        images: (N, 3, H, W), 0 to 255, float.
        masks: (N, 1, H, W), 0 or 1, float.
        changes: For these N pictures, on their device.

    Returns:
        Images and masks of the same shapes and ranges. Outside the picture stands its reflection, in both.
    """
    both = torch.cat([images / 255, masks], dim=1)
    grid = F.affine_grid(changes.theta, list(both.shape), align_corners=True)
    if changes.displacement is not None:  # as U-Net's authors did: drawn on a coarse grid, bicubic between
        smooth = F.interpolate(changes.displacement, size=both.shape[2:], mode="bicubic", align_corners=True)
        grid = grid + smooth.permute(0, 2, 3, 1)
    both = F.grid_sample(both, grid, mode="bilinear", padding_mode="reflection", align_corners=True)
    moved, moved_masks = both[:, :3], (both[:, 3:] > 0.5).to(masks.dtype)
    if changes.hairs is not None:
        moved = paint_hairs(moved, changes.hairs)
    if changes.corners is not None:
        moved, moved_masks = paint_corners(moved, moved_masks, changes.corners)
    moved = (moved * changes.gain).clamp(0, 1)
    moved = kornia.enhance.adjust_saturation_with_gray_subtraction(moved, changes.saturation)
    moved = kornia.enhance.adjust_contrast_with_mean_subtraction(moved, changes.contrast)
    moved = kornia.enhance.adjust_brightness(moved, changes.brightness)
    return moved * 255, moved_masks
