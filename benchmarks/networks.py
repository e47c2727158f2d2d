"""What is timed: SegNet-v2, and MONAI's U-Net of like arithmetic."""

import math

from monai.networks.nets import UNet
from torch import Tensor

from lesion_segmentation.model import Network, NetworkMetadata, build_network
from lesion_segmentation.model.layers import count_gflop

NETWORKS = ("segnet", "monai_unet")
HEIGHT, WIDTH = 192, 256


def build(name: str, width: float) -> Network:
    """`segnet` at this width as the recommended recipe has it, or `monai_unet` of about its arithmetic."""
    segnet = build_network(
        NetworkMetadata("segnet", {"width": width, "unpooling": "indices", "logit_batch_norm": False})
    )
    return segnet if name == "segnet" else _MonaiUNet(count_gflop(segnet), segnet.metadata)


class _MonaiUNet(Network):
    """Five levels with two residual units each and batch norm; as many channels as the arithmetic allows."""

    def __init__(self, gflop: float, metadata: NetworkMetadata) -> None:
        super().__init__()
        self.metadata = metadata
        base = 32
        self.unet = _unet(2 * max(1, round(base / 2 * math.sqrt(gflop / count_gflop(_unet(base))))))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 1, H, W)."""
        logits: Tensor = self.unet(x)
        return logits


def _unet(base: int) -> UNet:
    channels = tuple(base * 2**level for level in range(5))
    return UNet(2, 3, 1, channels, strides=(2, 2, 2, 2), num_res_units=2, norm="batch")
