"""A small U-Net decoder on an EfficientNet-Lite encoder, after Ronneberger, Fischer and Brox, "U-Net" (2015)."""

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from lesion_segmentation.core.parameter_model import ParameterModel
from lesion_segmentation.model.efficientnet_lite import EfficientNetLite, Variant, name_as_published
from lesion_segmentation.model.metadata import Network, NetworkMetadata

Channels = Annotated[int, Field(ge=1, le=1024)]


class UNetLiteOptions(ParameterModel):
    """Options of a `UNetLite`.

    Attributes:
        encoder: `lite0` (2,958,848 parameters) or `lite2` (4,357,952).
        decoder: Channels of the decoder's stages, the deepest first.
        annotation_styles: Annotation styles with an output head of their own: sources, or values of the column
            annotation_style of the cases.
    """

    encoder: Variant = "lite0"
    decoder: tuple[Channels, Channels, Channels, Channels] = (128, 96, 64, 48)
    annotation_styles: tuple[str, ...] = ()


class UNetLite(Network):
    """U-Net whose logits are computed at half the image's height and width and enlarged bilinearly.

    The arguments are the fields of `UNetLiteOptions`.
    """

    encoder: EfficientNetLite

    def __init__(self, **values: Any) -> None:
        super().__init__()
        options = UNetLiteOptions(**values)
        self.metadata = NetworkMetadata("unet_lite", options.model_dump(mode="json"))
        self.encoder = EfficientNetLite(options.encoder)
        *skips, deepest = self.encoder.channels
        self.decoder = nn.ModuleList()
        for skip, channels in zip(reversed(skips), options.decoder, strict=True):
            self.decoder.append(nn.Sequential(*_block(deepest + skip, channels), *_block(channels, channels)))
            deepest = channels
        self.head = nn.Conv2d(deepest, self.heads, 1)

    @property
    def title(self) -> str:
        return f"U-Net on EfficientNet-{self.metadata.options['encoder'].capitalize()}"

    def forward(self, x: Tensor) -> Tensor:
        """Map scaled images (N, 3, H, W), H and W at least 32, to logits (N, heads, H, W)."""
        size = x.shape[2:]
        *skips, y = self.encoder(x)
        for skip, stage in zip(reversed(skips), self.decoder, strict=True):
            y = stage(torch.cat([F.interpolate(y, size=skip.shape[2:]), skip], dim=1))
        logits: Tensor = F.interpolate(self.head(y), size=size, mode="bilinear", align_corners=False)
        return logits

    def published_names(self) -> dict[str, str]:
        return {f"encoder.{ours}": theirs for ours, theirs in name_as_published(self.encoder).items()}


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
