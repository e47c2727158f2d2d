"""What is timed: SegNet-v2, MONAI's U-Net of like arithmetic, and the other architectures."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lesion_segmentation.model import Network, NetworkMetadata, build_network
from lesion_segmentation.model.layers import count_gflop


def _of_environment(env: str) -> Callable[[float], NetworkMetadata]:
    file = Path(__file__).parents[1] / "conf" / env / "parameters_training.yml"
    options: Any = OmegaConf.to_container(OmegaConf.select(OmegaConf.load(file), "training.options"))
    return lambda width: NetworkMetadata("monai", options)


NETWORKS = ("segnet", "monai_unet")
"""Those that are compared part by part, at several widths and batches."""
OTHERS = {
    "segnet_skip": lambda width: NetworkMetadata("segnet_skip", {"width": width, "context": "none"}),
    "segnet_skip, dilated": lambda width: NetworkMetadata("segnet_skip", {"width": width, "context": "dilated"}),
    "segnet_skip, pooled": lambda width: NetworkMetadata("segnet_skip", {"width": width, "context": "pooled"}),
    "unet_lite, lite0": lambda width: NetworkMetadata("unet_lite", {"encoder": "lite0"}),
    "unet_lite, lite2": lambda width: NetworkMetadata("unet_lite", {"encoder": "lite2"}),
    **{f"monai, {env}": _of_environment(env) for env in ("attention_unet", "residual_unet", "unet_plus_plus")},
}
"""The other architectures, which are measured once; unet_lite and monai know no width."""
HEIGHT, WIDTH = 192, 256


def build(name: str, width: float) -> Network:
    """`segnet` with indices and no batch norm on the logit, `monai_unet` of about its arithmetic, or one of OTHERS."""
    if name in OTHERS:
        return build_network(OTHERS[name](width))
    segnet = build_network(
        NetworkMetadata("segnet", {"width": width, "unpooling": "indices", "logit_batch_norm": False})
    )
    return segnet if name == "segnet" else _build_monai_unet(count_gflop(segnet))


def _build_monai_unet(gflop: float) -> Network:
    """Five levels with two residual units each and batch norm; as many channels as the arithmetic allows."""
    base = 32
    wanted = base / 2 * math.sqrt(gflop / count_gflop(_unet(base)))
    return _unet(2 * max(1, round(wanted)))


def _unet(base: int) -> Network:
    arguments = {"channels": [base * 2**level for level in range(5)], "strides": [2] * 4, "num_res_units": 2,
                 "norm": "batch"}  # fmt: skip
    return build_network(NetworkMetadata("monai", {"network": "UNet", "arguments": arguments}))
