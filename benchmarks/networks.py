"""Networks to measure: SegNet-v2, a MONAI U-Net with about the same arithmetic, and the other architectures."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lesion_segmentation.model import Network, NetworkMetadata, build_network


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


def count_gflop(network: nn.Module, height: int = 192, width: int = 256) -> float:
    """Return the GFLOP of one forward pass of one image, counted on the meta device; a multiply-add counts as 2."""
    shapes_only = copy.deepcopy(network).to("meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shapes_only(torch.zeros(1, 3, height, width, device="meta"))
    return counter.get_total_flops() / 1e9


def _build_monai_unet(gflop: float) -> Network:
    """Build a U-Net of five levels with two residual units and batch norm, whose channels match `gflop`."""
    base = 32
    channels = base / 2 * math.sqrt(gflop / count_gflop(_unet(base)))
    return _unet(2 * max(1, round(channels)))


def _unet(base: int) -> Network:
    arguments = {"channels": [base * 2**level for level in range(5)], "strides": [2] * 4, "num_res_units": 2,
                 "norm": "batch"}  # fmt: skip
    return build_network(NetworkMetadata("monai", {"network": "UNet", "arguments": arguments}))
