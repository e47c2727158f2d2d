"""Networks to measure: SegNet-v2, a MONAI U-Net with about the same arithmetic, and the other architectures."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lesion_segmentation.model import Network, NetworkMetadata, build_network
from lesion_segmentation.model.layers import count_gflop


def _read_options(env: str) -> Callable[[float], NetworkMetadata]:
    file = Path(__file__).parents[1] / "conf" / env / "parameters.yml"
    options: Any = OmegaConf.to_container(OmegaConf.select(OmegaConf.load(file), "training.options"))
    return lambda width: NetworkMetadata("monai", options)


NETWORKS = ("segnet", "monai_unet")
"""Networks that are compared at several widths and batch sizes."""
OTHERS = {
    "segnet_skip": lambda width: NetworkMetadata("segnet_skip", {"width": width, "context": "none"}),
    "segnet_skip, dilated": lambda width: NetworkMetadata("segnet_skip", {"width": width, "context": "dilated"}),
    "unet_lite, lite0": lambda width: NetworkMetadata("unet_lite", {"encoder": "lite0"}),
    "unet_lite, lite2": lambda width: NetworkMetadata("unet_lite", {"encoder": "lite2"}),
    "u2netp": lambda width: NetworkMetadata("u2netp"),
    **{f"monai, {env}": _read_options(env) for env in ("attention_unet", "residual_unet", "unet_plus_plus")},
}
"""Other architectures, which are measured once. unet_lite, u2netp and monai ignore the width."""
HEIGHT, WIDTH = 192, 256


def build(name: str, width: float) -> Network:
    """Build a network of NETWORKS or OTHERS.

    `segnet` unpools by indices and has no batch norm on the logit. `monai_unet` has about the same arithmetic.
    """
    if name in OTHERS:
        return build_network(OTHERS[name](width))
    segnet = build_network(
        NetworkMetadata("segnet", {"width": width, "unpooling": "indices", "logit_batch_norm": False})
    )
    return segnet if name == "segnet" else _build_monai_unet(count_gflop(segnet))


def _build_monai_unet(gflop: float) -> Network:
    """Build a U-Net of five levels with two residual units and batch norm, whose channels match `gflop`."""
    base = 32
    channels = base / 2 * math.sqrt(gflop / count_gflop(_unet(base)))
    return _unet(2 * max(1, round(channels)))


def _unet(base: int) -> Network:
    arguments = {"channels": [base * 2**level for level in range(5)], "strides": [2] * 4, "num_res_units": 2,
                 "norm": "batch"}  # fmt: skip
    return build_network(NetworkMetadata("monai", {"network": "UNet", "arguments": arguments}))
