"""SegNet-v2: thirteen convolutions down, two dense layers per pixel, thirteen convolutions up.

After Badrinarayanan, Kendall and Cipolla, "SegNet" (2017), as Harlapur and Handur's 64 layers have it.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from lesion_segmentation.core.parameter_model import ParameterModel
from lesion_segmentation.model.metadata import Network, NetworkMetadata

Unpooling = Literal["indices", "nearest"]

BATCH_NORM_EPSILON = 1e-3

# Channels in units of the base (64 at width 1.0): the outputs of each stage's convolutions.
ENCODER = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))
DENSE = 16
DECODER = ((8, 8, 8), (8, 8, 4), (4, 4, 2), (2, 1))


class SegNetOptions(ParameterModel):
    """What a SegNet is built with: the arguments of the class, and its published defaults."""

    width: float = Field(1.0, ge=1 / 64, le=4)
    unpooling: Unpooling = "indices"
    logit_batch_norm: bool = True


class ConvBlock(nn.Sequential):
    """3 x 3 convolution with bias, batch norm, ReLU: (N, inputs, H, W) to (N, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPSILON),
            nn.ReLU(inplace=True),
        )


class Place(NamedTuple):
    """Where a pooling took its maxima from: the (H, W) before it, and flat positions (N, C, h, w) in it, or None."""

    size: torch.Size
    indices: Tensor | None


class Pool(nn.Module):
    """The maximum of each 2 x 2 window: (N, C, H, W) to (N, C, ceil(H / 2), ceil(W / 2)) and its place."""

    def __init__(self, with_indices: bool) -> None:
        super().__init__()
        self.with_indices = with_indices

    def forward(self, x: Tensor) -> tuple[Tensor, Place]:
        """Ceil mode keeps the last row and column of odd sizes."""
        size = x.shape[2:]
        if not self.with_indices:
            return F.max_pool2d(x, 2, ceil_mode=True), Place(size, None)
        x, indices = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
        return x, Place(size, indices)


class Unpool(nn.Module):
    """Back to the size before a pooling: by its indices where it kept them, else by repeating each value."""

    def forward(self, x: Tensor, place: Place) -> Tensor:
        """(N, C, h, w) to (N, C, H, W)."""
        if place.indices is None:
            return F.interpolate(x, size=place.size)
        return unpool(x, place.indices, place.size)


class SegNet(Network):
    """Scaled images to logits of the same height and width.

    Args:
        width: Factor on every channel count but the 3 of the input and the 1 of the output.
        unpooling: `indices` puts each value back where its maximum was; `nearest` repeats it, as the paper's
            code does.
        logit_batch_norm: Batch norm after the last convolution, as the paper's code has it.

    At width 1.0: 33,377,795 trainable parameters and 15,874 running means and variances.
    """

    encoder: nn.ModuleList

    def __init__(self, width: float = 1.0, unpooling: Unpooling = "indices", logit_batch_norm: bool = True) -> None:
        super().__init__()
        options = SegNetOptions(width=width, unpooling=unpooling, logit_batch_norm=logit_batch_norm)
        self.metadata = NetworkMetadata("segnet", options.model_dump())
        base = round(64 * width)
        self.encoder = nn.ModuleList()
        channels = 3
        for stage in ENCODER:
            self.encoder.append(blocks(channels, [unit * base for unit in stage]))
            channels = stage[-1] * base
        self.pools = nn.ModuleList(Pool(unpooling == "indices") for _ in ENCODER)
        self.dense = nn.Sequential(
            nn.Conv2d(channels, DENSE * base, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(DENSE * base, DENSE * base, 1),
            nn.ReLU(inplace=True),
        )
        channels = DENSE * base
        self.unpools = nn.ModuleList(Unpool() for _ in ENCODER)
        self.decoder = nn.ModuleList()
        for stage in DECODER:
            self.decoder.append(blocks(channels, [unit * base for unit in stage]))
            channels = stage[-1] * base
        self.decoder.append(blocks(channels, [base]))
        self.head = nn.Sequential(nn.Conv2d(base, 1, 3, padding=1))
        if logit_batch_norm:
            self.head.append(nn.BatchNorm2d(1, eps=BATCH_NORM_EPSILON))
        self.apply(initialize)

    def forward(self, x: Tensor) -> Tensor:
        """Scaled images (N, 3, H, W), H and W at least 32, to logits (N, 1, H, W)."""
        if x.ndim != 4 or x.shape[1] != 3 or min(x.shape[2:]) < 32:
            raise ValueError(f"input is {tuple(x.shape)}, expected (N, 3, H, W) with H and W at least 32")
        places: list[Place] = []
        for stage, pool in zip(self.encoder, self.pools, strict=True):
            x, place = pool(stage(x))
            places.append(place)
        x = self.dense(x)  # (N, 16 base, H / 32, W / 32)
        for up, stage, place in zip(self.unpools, self.decoder, reversed(places), strict=True):
            x = stage(up(x, place))
        logits: Tensor = self.head(x)
        return logits

    def load_encoder(self, published: Mapping[str, Tensor]) -> None:
        """Take VGG16's thirteen convolutions, whose shapes are those of width 1.0; batch norms begin afresh."""
        self.take_encoder(published, name_as_vgg16())


def name_as_vgg16() -> dict[str, str]:
    """The encoder's convolutions to the names of VGG16's in the published file."""
    return {
        f"{stage}.{number}.0.{kind}": f"block{stage + 1}.{number}.{kind}"
        for stage, units in enumerate(ENCODER)
        for number in range(len(units))
        for kind in ("weight", "bias")
    }


def unpool(x: Tensor, indices: Tensor, size: torch.Size) -> Tensor:
    """Put each value where its maximum was and zero elsewhere.

    Args:
        x: (N, k C, h, w); channel i uses index map i modulo C (the first unpooling has twice as many channels as maps).
        indices: (N, C, h, w) from max pooling, flat positions in a map of `size`.
        size: (H, W) to return to.

    Returns:
        (N, k C, H, W).
    """
    # As rows of channels, and not by F.max_unpool2d: that works, backward too, in the other memory layout, and autocast
    # makes it float32, though values only move.
    values = _as_rows(x)
    places = _as_rows(indices)
    if x.shape[1] != indices.shape[1]:
        places = places.repeat(1, 1, x.shape[1] // indices.shape[1])
    rows = values.new_zeros(x.shape[0], size[0] * size[1], x.shape[1]).scatter_(1, places, values)
    return rows.unflatten(1, tuple(size)).permute(0, 3, 1, 2)


def _as_rows(x: Tensor) -> Tensor:
    """(N, C, h, w) to (N, h w, C): without a copy where x is channels_last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def blocks(inputs: int, outputs: list[int]) -> nn.Sequential:
    return nn.Sequential(*(ConvBlock(i, o) for i, o in zip([inputs, *outputs[:-1]], outputs, strict=True)))


def initialize(module: nn.Module) -> None:
    """Glorot uniform weights and zero biases, as the paper's code."""
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
