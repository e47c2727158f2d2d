"""SegNet that keeps its indices and also brings the encoder's features across, narrowed by 1 x 1 convolutions."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from lesion_segmentation.model.metadata import Network, NetworkMetadata
from lesion_segmentation.model.segnet import (
    DECODER,
    DENSE,
    ENCODER,
    Pool,
    SegNetOptions,
    Unpool,
    blocks,
    initialize,
    name_as_vgg16,
)

Context = Literal["none", "dilated", "pooled"]


class SegNetSkipOptions(SegNetOptions):
    """What a SegNetSkip is built with."""

    skip: float = Field(0.25, gt=0, le=1)
    context: Context = "dilated"
    annotation_styles: tuple[str, ...] = ()


class SegNetSkip(Network):
    """Scaled images to logits of the same height and width.

    Args:
        width, unpooling, logit_batch_norm: As of SegNet.
        skip: Channels that are brought across, as a share of those of the encoder's stage.
        context: How the bottleneck sees widely: `dilated` by 3 x 3 convolutions at distances 1, 2 and 4 (after Yu and
            Koltun, "Multi-scale context aggregation", 2016), `pooled` by means over the whole map and over its
            quarters (after Zhao et al., "Pyramid scene parsing", 2017); `none` is SegNet's.
        annotation_styles: Sources whose experts outline in ways of their own; each gets a map of its own.
    """

    encoder: nn.ModuleList

    def __init__(
        self,
        width: float = 1.0,
        unpooling: Literal["indices", "nearest"] = "indices",
        logit_batch_norm: bool = False,
        skip: float = 0.25,
        context: Context = "dilated",
        annotation_styles: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        options = SegNetSkipOptions(
            width=width, unpooling=unpooling, logit_batch_norm=logit_batch_norm, skip=skip, context=context,
            annotation_styles=annotation_styles,
        )  # fmt: skip
        self.metadata = NetworkMetadata("segnet_skip", options.model_dump(mode="json"))
        base = round(64 * width)
        self.encoder, self.across, self.decoder = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        channels, brought = 3, []
        for stage in ENCODER:
            self.encoder.append(blocks(channels, [unit * base for unit in stage]))
            channels = stage[-1] * base
            brought.append(max(1, round(skip * channels)))
            self.across.append(_narrow(channels, brought[-1]))
        self.pools = nn.ModuleList(Pool(unpooling == "indices") for _ in ENCODER)
        self.dense = _narrow(channels, DENSE * base)
        self.context = {"none": nn.Identity, "dilated": Dilated, "pooled": Pooled}[context](DENSE * base)
        channels = DENSE * base
        self.unpools = nn.ModuleList(Unpool() for _ in ENCODER)
        for units, more in zip((*DECODER, (1,)), reversed(brought), strict=True):
            self.decoder.append(blocks(channels + more, [unit * base for unit in units]))
            channels = units[-1] * base
        self.head = nn.Sequential(nn.Conv2d(base, self.maps, 3, padding=1))
        if logit_batch_norm:
            self.head.append(nn.BatchNorm2d(self.maps))
        self.apply(initialize)

    def forward(self, x: Tensor) -> Tensor:
        """Scaled images (N, 3, H, W), H and W at least 32, to logits (N, maps, H, W)."""
        kept = []
        for stage, across, pool in zip(self.encoder, self.across, self.pools, strict=True):
            features = stage(x)
            x, place = pool(features)
            kept.append((place, across(features)))
        x = self.context(self.dense(x))
        for up, stage, (place, brought) in zip(self.unpools, self.decoder, reversed(kept), strict=True):
            x = stage(torch.cat([up(x, place), brought], dim=1))
        logits: Tensor = self.head(x)
        return logits

    def load_encoder(self, published: Mapping[str, Tensor]) -> None:
        """Take VGG16's thirteen convolutions, whose shapes are those of width 1.0; batch norms begin afresh."""
        self.take_encoder(published, name_as_vgg16())


class Dilated(nn.Module):
    """(N, C, H, W) to the same shape: each pixel sees fifteen across; what came in is added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(1, channels // 4)
        self.reduce = _narrow(channels, narrow)
        self.layers = nn.Sequential(
            *(layer for step in (1, 2, 4) for layer in (
                nn.Conv2d(narrow, narrow, 3, padding=step, dilation=step, bias=False),
                nn.BatchNorm2d(narrow),
                nn.ReLU(inplace=True),
            ))
        )  # fmt: skip
        self.restore = nn.Conv2d(narrow, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.restore(self.layers(self.reduce(x)))


class Pooled(nn.Module):
    """(N, C, H, W) to the same shape: each pixel learns of the whole map and of its quarters; what came in is added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(1, channels // 4)
        self.views = nn.ModuleList(nn.Conv2d(channels, narrow, 1) for _ in (1, 2))
        self.restore = nn.Conv2d(2 * narrow, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        seen = []
        for bins, view in zip((1, 2), self.views, strict=True):
            seen.append(F.interpolate(view(F.adaptive_avg_pool2d(x, bins)).relu(), size=x.shape[2:]))
        return x + self.restore(torch.cat(seen, dim=1))


def _narrow(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.ReLU(inplace=True))
