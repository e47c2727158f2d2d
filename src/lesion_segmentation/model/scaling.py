"""Scaling of raw pixels to the input of a network."""

import torch
from torch import Tensor

from lesion_segmentation.model.metadata import NetworkMetadata, Triple


class Scaling:
    """Subtract the mean from raw pixels (N, 3, H, W), 0 to 255, and divide by the deviation that the metadata give.

    The constants are copied to the device once, since a copy per step would make the host wait for a GPU.
    """

    def __init__(self, metadata: NetworkMetadata, device: torch.device | str = "cpu") -> None:
        self._mean, self._std = (_per_channel(values, device) for values in (metadata.input_mean, metadata.input_std))

    def __call__(self, pixels: Tensor) -> Tensor:
        return (pixels - self._mean) / self._std


def _per_channel(values: Triple, device: torch.device | str) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1).to(device)
