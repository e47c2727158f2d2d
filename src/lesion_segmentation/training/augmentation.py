"""Online augmentation on the training device: geometry changes image and mask alike, colors change the image alone.

All random numbers of an epoch are sampled on the host and copied to the device at once. A GPU therefore gets the same
augmentation as a CPU, and no step waits for the copy.
"""

import kornia
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from lesion_segmentation.training.artifacts import paint_corners, paint_hairs, sample_corners, sample_hairs
from lesion_segmentation.training.settings import OnlineAugmentationSettings

GRID = 5
"""Control points of an elastic deformation along each axis."""

AugmentationParameters = dict[str, Tensor]
"""Random parameters of the augmentation of N images, one row per image.

- theta (N, 2, 3): affine matrices for F.affine_grid, in normalized coordinates with aligned corners
- brightness (N,): added to pixels of 0 to 1
- contrast, saturation (N,): factors
- gain (N, 3, 1, 1): factors on red, green and blue

Only if they are switched on:

- displacement (N, 2, GRID, GRID): displacement of the control points in the coordinates of `theta`
- hair_points (N, K, 3, 2), hair_darkness (N, K), hair_color (N, 3, 1, 1): up to K hairs (`sample_hairs`)
- corner_radius, corner_softness, corner_darkness (N, 1, 1, 1): dark corners (`sample_corners`)
"""


def sample_augmentation(
    count: int, height: int, width: int, settings: OnlineAugmentationSettings, generator: Generator
) -> AugmentationParameters:
    """Sample parameters for `count` images of `height` x `width`, on the CPU."""

    def uniform(limit: float, *shape: int) -> Tensor:
        return (2 * torch.rand(count, *shape, generator=generator) - 1) * limit

    zoom = torch.exp(uniform(1.0) * torch.log1p(torch.tensor(settings.scale)))
    flips = torch.ones(count, 2)
    if settings.flip:
        flips = torch.where(torch.rand(count, 2, generator=generator) < 0.5, -1.0, 1.0)
    matrix = kornia.geometry.get_affine_matrix2d(
        translations=uniform(settings.shift, 2) * torch.tensor([width, height]),
        center=torch.tensor([(width - 1) / 2, (height - 1) / 2]).expand(count, 2),
        scale=zoom[:, None] * flips,
        angle=uniform(settings.rotation),
    )  # (N, 3, 3), from input to output pixels
    normalized = kornia.geometry.conversions.normalize_homography(matrix, (height, width), (height, width))
    parameters = {
        "theta": torch.linalg.inv(normalized)[:, :2],  # from output to input pixels
        "brightness": uniform(settings.brightness),
        "contrast": 1 + uniform(settings.contrast),
        "saturation": 1 + uniform(settings.saturation),
        "gain": 1 + uniform(settings.channel_gain, 3, 1, 1),
    }
    if settings.elastic:
        parameters["displacement"] = uniform(2 * settings.elastic, 2, GRID, GRID)
    if settings.hairs:
        parameters |= sample_hairs(count, settings.hairs, generator)
    if settings.corners:
        parameters |= sample_corners(count, settings.corners, generator)
    return parameters


def select_rows(parameters: AugmentationParameters, rows: slice) -> AugmentationParameters:
    """Select the parameters of a batch from those of an epoch."""
    return {name: value[rows] for name, value in parameters.items()}


def apply_augmentation(
    images: Tensor, masks: Tensor, parameters: AugmentationParameters, soft: bool = False
) -> tuple[Tensor, Tensor]:
    """Augment float images (N, 3, H, W), 0 to 255, and masks (N, 1, H, W), 0 or 1, all on one device.

    Both are continued by reflection beyond the image's border. With `soft`, masks have values from 0 to 1, and so have
    those that are returned.
    """
    both = torch.cat([images / 255, masks], dim=1)
    grid = F.affine_grid(parameters["theta"], list(both.shape), align_corners=True)
    if "displacement" in parameters:  # bicubic interpolation of a coarse grid, as in the paper of U-Net
        smooth = F.interpolate(parameters["displacement"], size=both.shape[2:], mode="bicubic", align_corners=True)
        grid = grid + smooth.permute(0, 2, 3, 1)
    both = F.grid_sample(both, grid, mode="bilinear", padding_mode="reflection", align_corners=True)
    moved, moved_masks = both[:, :3], both[:, 3:] if soft else (both[:, 3:] > 0.5).to(masks.dtype)
    if "hair_points" in parameters:
        moved = paint_hairs(moved, parameters)
    if "corner_radius" in parameters:
        moved, moved_masks = paint_corners(moved, moved_masks, parameters)
    moved = (moved * parameters["gain"]).clamp(0, 1)
    moved = kornia.enhance.adjust_saturation_with_gray_subtraction(moved, parameters["saturation"])
    moved = kornia.enhance.adjust_contrast_with_mean_subtraction(moved, parameters["contrast"])
    moved = kornia.enhance.adjust_brightness(moved, parameters["brightness"])
    return moved * 255, moved_masks
