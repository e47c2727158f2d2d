"""Random artifacts of dermoscopic images: hairs, and the dark corners outside the round frame of a dermoscope.

PH2's experts ignore hairs and annotate no lesion in dark corners.
"""

from collections.abc import Mapping

import torch
from torch import Generator, Tensor
from torch.nn import functional as F


def sample_hairs(count: int, most: int, generator: Generator) -> dict[str, Tensor]:
    """Sample 0 to `most` hairs for each of `count` images, on the CPU.

    Returns:
        - hair_points (count, most, 3, 2): ends and control point of a quadratic Bezier curve; in the image, x and y
          are -1 to 1
        - hair_darkness (count, most): opacity of the hair, 0 to 1; 0 if there is no hair
        - hair_color (count, 3, 1, 1): 0 to 1
    """
    numbers = torch.randint(most + 1, (count, 1), generator=generator)
    points = 2.4 * torch.rand(count, most, 3, 2, generator=generator) - 1.2
    darkness = 0.3 + 0.6 * torch.rand(count, most, generator=generator)
    color = 0.25 * torch.rand(count, 3, 1, 1, generator=generator)
    darkness = torch.where(torch.arange(most) < numbers, darkness, 0.0)
    return {"hair_points": points, "hair_darkness": darkness, "hair_color": color}


def paint_hairs(images: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """Paint hairs on images (N, 3, H, W), 0 to 1; a hair is one pixel wide with soft edges."""
    count, _, height, width = images.shape
    steps = torch.linspace(0, 1, height + width, device=images.device)  # more steps than a curve crosses pixels
    weights = torch.stack([(1 - steps) ** 2, 2 * steps * (1 - steps), steps**2])  # Bernstein polynomials, (3, T)
    curves = torch.einsum("nkpc,pt->nktc", parameters["hair_points"], weights)
    sides = torch.tensor([width, height], device=images.device)
    pixels = ((curves + 1) / 2 * sides).floor().long()
    inside = ((pixels >= 0) & (pixels < sides)).all(dim=-1)
    positions = (pixels[..., 1] * width + pixels[..., 0]).where(inside, 0).flatten(1)
    values = parameters["hair_darkness"][..., None].expand(inside.shape).where(inside, 0.0).flatten(1)
    lines = torch.zeros(count, height * width, device=images.device).scatter_reduce(1, positions, values, "amax")
    lines = lines.view(count, 1, height, width)
    covered = torch.maximum(lines, F.max_pool2d(lines, 3, stride=1, padding=1) / 2)
    return images * (1 - covered) + parameters["hair_color"] * covered


def sample_corners(count: int, share: float, generator: Generator) -> dict[str, Tensor]:
    """Sample frames on the CPU, each of `count` images having one with probability `share`.

    Returns:
        Tensors (count, 1, 1, 1):

        - corner_radius: radius of the bright circle as a fraction of the half diagonal; at 1 it touches the image's
          corners
        - corner_softness: width of its edge, in the same unit
        - corner_darkness: opacity of the frame, 0 to 1; 0 if there is no frame
    """

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)

    framed = uniform(0, 1) < share
    return {
        "corner_radius": uniform(0.65, 1),
        "corner_softness": uniform(0.02, 0.2),
        "corner_darkness": torch.where(framed, uniform(0.6, 1), 0.0),
    }


def paint_corners(images: Tensor, masks: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Paint the frames on images (N, 3, H, W), 0 to 1, and clear masks (N, 1, H, W) where a frame is mostly opaque."""
    height, width = images.shape[2:]
    rows = torch.linspace(-height, height, height, device=images.device)[:, None]
    columns = torch.linspace(-width, width, width, device=images.device)
    distance = torch.sqrt(rows**2 + columns**2) / (height**2 + width**2) ** 0.5
    covered = ((distance - parameters["corner_radius"]) / parameters["corner_softness"]).clamp(0, 1)
    covered = covered * parameters["corner_darkness"]
    return images * (1 - covered), torch.where(covered > 0.5, 0.0, masks)
