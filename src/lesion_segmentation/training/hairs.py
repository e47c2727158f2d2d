"""RandomParameters hairs: dark curves over a picture, as dermoscopic pictures have them and PH2's annotation_styles ignore them."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from lesion_segmentation.training.random_parameters import RandomParameters


@dataclass(frozen=True)
class Hairs(RandomParameters):
    """Random numbers for N pictures with up to K hairs each.

    Attributes:
        points: (N, K, 3, 2), the ends and the control point of a quadratic Bezier curve, x and y from -1 to 1 in the
            picture.
        darkness: (N, K), 0 where there is no hair, else how much of the picture it covers.
        color: (N, 3, 1, 1), 0 to 1.
    """

    points: Tensor
    darkness: Tensor
    color: Tensor


def sample_hairs(count: int, most: int, generator: Generator) -> Hairs:
    """Between none and `most` hairs for each of `count` pictures, on the CPU."""
    numbers = torch.randint(most + 1, (count, 1), generator=generator)
    points = 2.4 * torch.rand(count, most, 3, 2, generator=generator) - 1.2
    darkness = 0.3 + 0.6 * torch.rand(count, most, generator=generator)
    color = 0.25 * torch.rand(count, 3, 1, 1, generator=generator)
    return Hairs(points, torch.where(torch.arange(most) < numbers, darkness, 0.0), color)


def paint_hairs(images: Tensor, hairs: Hairs) -> Tensor:
    """Images (N, 3, H, W), 0 to 1, with their hairs, a pixel thick with soft edges."""
    count, _, height, width = images.shape
    steps = torch.linspace(0, 1, height + width, device=images.device)  # more than the pixels that a curve crosses
    weights = torch.stack([(1 - steps) ** 2, 2 * steps * (1 - steps), steps**2])  # Bernstein's, (3, T)
    curves = torch.einsum("nkpc,pt->nktc", hairs.points, weights)
    sides = torch.tensor([width, height], device=images.device)
    pixels = ((curves + 1) / 2 * sides).floor().long()
    inside = ((pixels >= 0) & (pixels < sides)).all(dim=-1)
    place = (pixels[..., 1] * width + pixels[..., 0]).where(inside, 0).flatten(1)
    value = hairs.darkness[..., None].expand(inside.shape).where(inside, 0.0).flatten(1)
    lines = torch.zeros(count, height * width, device=images.device).scatter_reduce(1, place, value, "amax")
    lines = lines.view(count, 1, height, width)
    covered = torch.maximum(lines, F.max_pool2d(lines, 3, stride=1, padding=1) / 2)
    return images * (1 - covered) + hairs.color * covered
