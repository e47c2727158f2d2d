"""What is timed: SegNet-v2, and MONAI's U-Net of like arithmetic."""

import math

from monai.networks.nets import UNet
from torch import Tensor

from lesion_segmentation.model import Network, NetworkMetadata, build_network
from lesion_segmentation.model.layers import count_gflop

NETWORKS = ("segnet", "monai_unet")
"""Those that are compared part by part, at several widths and batches."""
OTHERS = {
    "segnet_skip": lambda width: NetworkMetadata("segnet_skip", {"width": width}),
    "segnet_skip, dilated": lambda width: NetworkMetadata("segnet_skip", {"width": width, "context": "dilated"}),
    "segnet_skip, pooled": lambda width: NetworkMetadata("segnet_skip", {"width": width, "context": "pooled"}),
    "unet_lite, lite0": lambda width: NetworkMetadata("unet_lite", {"encoder": "lite0"}),
    "unet_lite, lite2": lambda width: NetworkMetadata("unet_lite", {"encoder": "lite2"}),
}
"""The other architectures, which are measured once; the last two know no width."""
HEIGHT, WIDTH = 192, 256


def build(name: str, width: float) -> Network:
    """`segnet` as the recommended recipe has it, `monai_unet` of about its arithmetic, or one of OTHERS."""
    if name in OTHERS:
        return build_network(OTHERS[name](width))
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
