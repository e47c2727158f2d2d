"""From raw pixels to what a network was trained on."""

import torch
from torch import Tensor

from lesion_segmentation.model.metadata import NetworkMetadata, Triple


class Scaling:
    """Raw pixels (N, 3, H, W), 0 to 255, minus the metadata's mean, divided by its deviation.

    The constants are sent to the device once: a copy a step would make the host wait for a GPU.
    """

    def __init__(self, metadata: NetworkMetadata, device: torch.device | str = "cpu") -> None:
        self._mean, self._std = (_per_channel(values, device) for values in (metadata.input_mean, metadata.input_std))

    def __call__(self, pixels: Tensor) -> Tensor:
        return (pixels - self._mean) / self._std


def _per_channel(values: Triple, device: torch.device | str) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1).to(device)
