"""U²-Net-p, the small network for salient objects of Qin et al., "U²-Net: Going Deeper with Nested U-Structure" (2020).

The published weights have their batch norms folded into the convolutions, so the blocks have none. If they are put back
as identities, training loses the weights: after six epochs on PH2 with a learning rate of 0.001 (one seed, n = 40),
Dice is 31.4 with and 92.9 without them on fold 0, and 1.4 and 94.1 on fold 1.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lesion_segmentation.core.parameter_model import ParameterModel
from lesion_segmentation.model.metadata import Network, NetworkMetadata
from lesion_segmentation.model.segnet import initialize

CHANNELS, NARROW = 64, 16
"""Channels between the blocks and within them."""
DEPTHS = (7, 6, 5, 4)
"""Levels of the first blocks, whose resolution is halved from level to level."""
DILATIONS = (1, 2, 4, 8)
"""Dilations of the levels of the deeper blocks, which keep their resolution."""


class U2NetPOptions(ParameterModel):
    """Options of a `U2NetP`.

    Attributes:
        annotation_styles: Annotation styles with an output head of their own: sources, or values of the column
            annotation_style of the cases.
    """

    annotation_styles: tuple[str, ...] = ()


class ResidualU(nn.Module):
    """Residual U-block: a projection, plus a small U-Net of it, (N, inputs, H, W) to (N, CHANNELS, H, W).

    Args:
        inputs: Number of input channels.
        levels: Number of levels with pooling between them, except before the last one, whose dilation is 2; None for
            the levels of DILATIONS without pooling.
    """

    def __init__(self, inputs: int, levels: int | None) -> None:
        super().__init__()
        *upper, deepest = DILATIONS if levels is None else (*[1] * (levels - 1), 2)
        widths = [CHANNELS, *[NARROW] * (len(upper) - 1)]
        self.is_pooled = levels is not None
        self.project = _conv(inputs, CHANNELS, 1)
        self.down = _convs(widths, [NARROW] * len(upper), upper)
        self.bottom = _conv(NARROW, NARROW, deepest)
        self.up = _convs([2 * NARROW] * len(upper), widths[::-1], upper[::-1])

    def forward(self, x: Tensor) -> Tensor:
        x = self.project(x)
        skips = _descend(self.down, x, self.is_pooled)
        return x + _ascend(self.up, self.bottom(skips[-1]), skips)[-1]


class U2NetP(Network):
    """U-Net whose stages are U-Nets themselves. A map of logits of each resolution is enlarged, and the six are fused.

    The arguments are the fields of `U2NetPOptions`. By default, the network has 119 convolutions and 1,125,485
    parameters. Modules are registered in the order in which they run, by which the published weights are named.
    """

    def __init__(self, **values: Any) -> None:
        super().__init__()
        options = U2NetPOptions(**values)
        self.metadata = NetworkMetadata("u2netp", options.model_dump(mode="json"))
        stages = (*DEPTHS, None)
        widths = [3, *[CHANNELS] * (len(stages) - 1)]
        self.down = nn.ModuleList(ResidualU(width, levels) for width, levels in zip(widths, stages, strict=True))
        self.bottom = ResidualU(CHANNELS, None)
        self.up = nn.ModuleList(ResidualU(2 * CHANNELS, levels) for levels in reversed(stages))
        self.sides = nn.ModuleList(nn.Conv2d(CHANNELS, self.heads, 3, padding=1) for _ in (*stages, "bottom"))
        self.fuse = nn.Conv2d(len(self.sides), 1, 1)
        self.apply(initialize)

    @property
    def title(self) -> str:
        return "U²-Net-p"

    def forward(self, x: Tensor) -> Tensor:
        """Map scaled images (N, 3, H, W), H and W at least 32, to logits (N, heads, H, W)."""
        skips = _descend(self.down, x, is_pooled=True)
        deepest = self.bottom(_pool(skips[-1]))
        finest_first = [*_ascend(self.up, deepest, skips)[::-1], deepest]
        maps = [_enlarge(side(features), x) for side, features in zip(self.sides, finest_first, strict=True)]
        fused: Tensor = self.fuse(torch.stack(maps, dim=2).flatten(0, 1))  # (N heads, 1, H, W)
        return fused.view(-1, self.heads, *x.shape[2:])

    def published_names(self) -> dict[str, str]:
        layers = [name for name, module in self.named_modules() if isinstance(module, nn.Conv2d)]
        return {f"{name}.{end}": f"{number}.{end}" for number, name in enumerate(layers) for end in ("weight", "bias")}

    def load_pretrained(self, published: Mapping[str, Tensor]) -> None:
        """Initialize all convolutions from pretrained weights. Each output head gets those of the published one."""
        sides = {theirs for ours, theirs in self.published_names().items() if ours.startswith("sides.")}
        heads = {name: published[name].repeat_interleave(self.heads, 0) for name in sides & published.keys()}
        super().load_pretrained({**published, **heads})


def _conv(inputs: int, outputs: int, dilation: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)
    return nn.Sequential(convolution, nn.ReLU(inplace=True))


def _convs(inputs: Iterable[int], outputs: Iterable[int], dilations: Iterable[int]) -> nn.ModuleList:
    return nn.ModuleList(_conv(*shape) for shape in zip(inputs, outputs, dilations, strict=True))


def _descend(stages: nn.ModuleList, x: Tensor, is_pooled: bool) -> list[Tensor]:
    """Return the output of each stage, the finest first. If `is_pooled`, the output is pooled before the next stage."""
    outputs: list[Tensor] = []
    for stage in stages:
        x = stage(_pool(x) if is_pooled and outputs else x)
        outputs.append(x)
    return outputs


def _ascend(stages: nn.ModuleList, x: Tensor, skips: list[Tensor]) -> list[Tensor]:
    """Return the output of each stage, the coarsest first. Its input is the output before it and the skip beside it."""
    outputs = []
    for stage, skip in zip(stages, reversed(skips), strict=True):
        x = stage(torch.cat([_enlarge(x, skip), skip], dim=1))
        outputs.append(x)
    return outputs


def _pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2, ceil_mode=True)


def _enlarge(x: Tensor, like: Tensor) -> Tensor:
    """Enlarge x bilinearly to the height and width of `like`."""
    size = like.shape[2:]
    return x if x.shape[2:] == size else F.interpolate(x, size=size, mode="bilinear", align_corners=False)
