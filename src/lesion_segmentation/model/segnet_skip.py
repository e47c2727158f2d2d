"""SegNet with skip connections: pooling indices as in SegNet, and narrowed features of the encoder."""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from lesion_segmentation.model.metadata import Network, NetworkMetadata
from lesion_segmentation.model.segnet import (
    DECODER,
    DENSE,
    ENCODER,
    Pool,
    SegNetOptions,
    Unpool,
    blocks,
    dense_layer,
    initialize,
)


class SegNetSkipOptions(SegNetOptions):
    """Options of a `SegNetSkip`, and those of a `SegNet`.

    Attributes:
        skip: Channels of a skip connection as a fraction of those of the encoder's stage.
        context: `dilated` widens the receptive field of the bottleneck by 3 x 3 convolutions with dilation 1, 2 and 4
            (Yu and Koltun, "Multi-scale context aggregation by dilated convolutions", 2016); `none` leaves SegNet's.
        annotation_styles: Annotation styles with an output head of their own: sources, or values of the column
            annotation_style of the cases.
    """

    skip: float = Field(0.25, gt=0, le=1)
    context: Literal["none", "dilated"] = "dilated"
    annotation_styles: tuple[str, ...] = ()


class SegNetSkip(Network):
    """SegNet whose decoder also gets the encoder's features, narrowed by 1 x 1 convolutions.

    The arguments are the fields of `SegNetSkipOptions`.
    """

    encoder: nn.ModuleList

    def __init__(self, **values: Any) -> None:
        super().__init__()
        options = SegNetSkipOptions(**values)
        self.metadata = NetworkMetadata("segnet_skip", options.model_dump(mode="json"))
        base = round(64 * options.width)
        self.encoder, self.across, self.decoder = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        channels, skips = 3, []
        for stage in ENCODER:
            self.encoder.append(blocks(channels, [unit * base for unit in stage]))
            channels = stage[-1] * base
            skips.append(max(1, round(options.skip * channels)))
            self.across.append(dense_layer(channels, skips[-1]))
        self.pools = nn.ModuleList(Pool(options.unpooling == "indices") for _ in ENCODER)
        self.dense = dense_layer(channels, DENSE * base)
        self.context = Dilated(DENSE * base) if options.context == "dilated" else nn.Identity()
        channels = DENSE * base
        self.unpools = nn.ModuleList(Unpool() for _ in ENCODER)
        for units, skipped in zip(DECODER, reversed(skips), strict=True):
            self.decoder.append(blocks(channels + skipped, [unit * base for unit in units]))
            channels = units[-1] * base
        self.head = nn.Sequential(nn.Conv2d(base, self.heads, 3, padding=1))
        if options.logit_batch_norm:
            self.head.append(nn.BatchNorm2d(self.heads))
        self.apply(initialize)

    @property
    def title(self) -> str:
        return f"SegNet with skips at width {self.metadata.options['width']:g}"

    def forward(self, x: Tensor) -> Tensor:
        """Map scaled images (N, 3, H, W), H and W at least 32, to logits (N, heads, H, W)."""
        kept = []
        for stage, across, pool in zip(self.encoder, self.across, self.pools, strict=True):
            features = stage(x)
            x, maxima = pool(features)
            kept.append((maxima, across(features)))
        x = self.context(self.dense(x))
        for up, stage, (maxima, skipped) in zip(self.unpools, self.decoder, reversed(kept), strict=True):
            x = stage(torch.cat([up(x, maxima), skipped], dim=1))
        logits: Tensor = self.head(x)
        return logits


class Dilated(nn.Module):
    """Residual block (N, C, H, W) with dilated convolutions, whose receptive field is 15 x 15."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(1, channels // 4)
        self.reduce = dense_layer(channels, narrow)
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
