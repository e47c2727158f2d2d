"""From raw pixels to what a network was trained on."""

import torch
from torch import Tensor

from lesion_segmentation.model.metadata import NetworkMetadata


def scale(pixels: Tensor, metadata: NetworkMetadata) -> Tensor:
    """Raw pixels (N, 3, H, W), 0 to 255, minus the metadata's mean, divided by its deviation."""
    return (pixels - _per_channel(metadata.input_mean, pixels)) / _per_channel(metadata.input_std, pixels)


def _per_channel(values: tuple[float, float, float], like: Tensor) -> Tensor:
    # Filled on the device, not copied to it: a copy would make the host wait for a GPU.
    channels = [torch.full((1, 1, 1, 1), value, dtype=like.dtype, device=like.device) for value in values]
    return torch.cat(channels, dim=1)
