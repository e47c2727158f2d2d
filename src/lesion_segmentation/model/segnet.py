"""SegNet-v2: thirteen convolutions down, two dense layers per pixel, thirteen convolutions up.

The architecture is SegNet (Badrinarayanan, Kendall and Cipolla, 2017) with the 64 layers of Harlapur and Handur.
"""

from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from lesion_segmentation.core.parameter_model import ParameterModel
from lesion_segmentation.model.metadata import Network, NetworkMetadata

Unpooling = Literal["indices", "nearest"]

BATCH_NORM_EPSILON = 1e-3

# Output channels of each stage's convolutions, in units of the base (64 at width 1.0).
ENCODER: tuple[tuple[int, ...], ...] = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))
DENSE = 16
DECODER: tuple[tuple[int, ...], ...] = ((8, 8, 8), (8, 8, 4), (4, 4, 2), (2, 1), (1,))


class SegNetOptions(ParameterModel):
    """Options of a `SegNet` with the published defaults."""

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


class Maxima(NamedTuple):
    """Positions of pooled maxima: the (H, W) before pooling, and flat indices (N, C, h, w) into it, or None."""

    size: torch.Size
    indices: Tensor | None


class Pool(nn.Module):
    """2 x 2 max pooling: (N, C, H, W) to (N, C, ceil(H / 2), ceil(W / 2)) and the positions of the maxima."""

    def __init__(self, with_indices: bool) -> None:
        super().__init__()
        self.with_indices = with_indices

    def forward(self, x: Tensor) -> tuple[Tensor, Maxima]:
        size = x.shape[2:]  # ceil mode keeps the last row and column of odd sizes
        if not self.with_indices:
            return F.max_pool2d(x, 2, ceil_mode=True), Maxima(size, None)
        x, indices = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
        return x, Maxima(size, indices)


class Unpool(nn.Module):
    """Unpooling (N, C, h, w) to (N, C, H, W): by the indices of the maxima if given, else by nearest neighbor."""

    def forward(self, x: Tensor, maxima: Maxima) -> Tensor:
        if maxima.indices is None:
            return F.interpolate(x, size=maxima.size)
        return unpool(x, maxima.indices, maxima.size)


class SegNet(Network):
    """SegNet-v2. At width 1.0 it has 33,377,795 trainable parameters and 15,874 running means and variances.

    Args:
        width: Factor on every channel count except the 3 of the input and the 1 of the output.
        unpooling: `indices` puts each value back at the position of its maximum; `nearest` repeats it, as the paper's
            code does.
        logit_batch_norm: Whether a batch norm follows the last convolution, as in the paper's code.
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
        wide = DENSE * base
        self.dense = nn.Sequential(*dense_layer(channels, wide), *dense_layer(wide, wide))
        channels = wide
        self.unpools = nn.ModuleList(Unpool() for _ in ENCODER)
        self.decoder = nn.ModuleList()
        for stage in DECODER:
            self.decoder.append(blocks(channels, [unit * base for unit in stage]))
            channels = stage[-1] * base
        self.head = nn.Sequential(nn.Conv2d(base, 1, 3, padding=1))
        if logit_batch_norm:
            self.head.append(nn.BatchNorm2d(1, eps=BATCH_NORM_EPSILON))
        self.apply(initialize)

    @property
    def title(self) -> str:
        unpooling = {"indices": "unpooling by indices", "nearest": "nearest-neighbor unpooling"}
        options = self.metadata.options
        return f"SegNet-v2 at width {options['width']:g}, {unpooling[options['unpooling']]}"

    def forward(self, x: Tensor) -> Tensor:
        """Map scaled images (N, 3, H, W), H and W at least 32, to logits (N, 1, H, W)."""
        if x.ndim != 4 or x.shape[1] != 3 or min(x.shape[2:]) < 32:
            raise ValueError(f"input is {tuple(x.shape)}, expected (N, 3, H, W) with H and W at least 32")
        kept: list[Maxima] = []
        for stage, pool in zip(self.encoder, self.pools, strict=True):
            x, maxima = pool(stage(x))
            kept.append(maxima)
        x = self.dense(x)  # (N, 16 base, H / 32, W / 32)
        for up, stage, maxima in zip(self.unpools, self.decoder, reversed(kept), strict=True):
            x = stage(up(x, maxima))
        logits: Tensor = self.head(x)
        return logits


def unpool(x: Tensor, indices: Tensor, size: torch.Size) -> Tensor:
    """Put each value of x (N, k C, h, w) at the position of its maximum and zero everywhere else: (N, k C, H, W).

    The indices (N, C, h, w) of max pooling are flat positions in (H, W). Channel i of x uses those of channel i modulo
    C: the first unpooling has twice as many channels as the last pooling.
    """
    # F.max_unpool2d computes forward and backward in the contiguous memory layout only, and autocast converts it to
    # float32 although values are only moved. Scattering rows of channels does neither.
    values = _as_rows(x)
    positions = _as_rows(indices)
    if x.shape[1] != indices.shape[1]:
        positions = positions.repeat(1, 1, x.shape[1] // indices.shape[1])
    rows = values.new_zeros(x.shape[0], size[0] * size[1], x.shape[1]).scatter_(1, positions, values)
    return rows.unflatten(1, tuple(size)).permute(0, 3, 1, 2)


def _as_rows(x: Tensor) -> Tensor:
    """Reshape (N, C, h, w) to (N, h w, C), without a copy if x is channels_last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def blocks(inputs: int, outputs: list[int]) -> nn.Sequential:
    """Return a chain of `ConvBlock`s with these output channels."""
    return nn.Sequential(*(ConvBlock(i, o) for i, o in zip([inputs, *outputs[:-1]], outputs, strict=True)))


def dense_layer(inputs: int, outputs: int) -> nn.Sequential:
    """Return a layer that connects the channels of each pixel: a 1 x 1 convolution with bias, ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.ReLU(inplace=True))


def initialize(module: nn.Module) -> None:
    """Set Glorot uniform weights and zero biases, as the paper's code does."""
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
