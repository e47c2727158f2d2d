"""EfficientNet-Lite as an encoder: features at 1/2 to 1/32 of the image's size, without the classifier.

The architecture is that of Tan and Le, "EfficientNet" (2019), without squeeze-and-excitation and with ReLU6, as
TensorFlow published it under the name EfficientNet-Lite (2020). Padding and the epsilon of batch norms follow
TensorFlow, since the published weights were trained with them.
"""

import math
from typing import Literal, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

Variant = Literal["lite0", "lite2"]

BATCH_NORM_EPSILON = 1e-3
_STEM = 32
_SCALES: dict[str, tuple[float, float]] = {"lite0": (1.0, 1.0), "lite2": (1.1, 1.2)}
"""Factors on channels and on depth. The stem and the depth of the first and the last stage are not scaled."""


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_TAPS = (0, 1, 2, 4, 6)
"""Indices of the last stage of each resolution: 1/2, 1/4, ..., 1/32 of the image's size."""


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding: (N, C, H, W) to (N, C', ceil(H / s), ceil(W / s)).

    If the padding is odd, the right and the bottom side get the larger half.
    """

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (_padding(x.shape[axis], self.kernel_size[0], self.stride[0]) for axis in (2, 3))
        if rows[0] != rows[1] or columns[0] != columns[1]:
            return super().forward(F.pad(x, [*columns, *rows]))
        padding = rows[0], columns[0]  # without a padded copy of x
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


def _padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class Block(nn.Module):
    """Inverted residual block: expand by 1 x 1, filter each channel, project; add the input if the shapes agree."""

    def __init__(self, inputs: int, stage: _Stage, stride: int, outputs: int) -> None:
        super().__init__()
        wide = inputs * stage.expansion
        self.expand = _conv(inputs, wide, 1) if stage.expansion > 1 else nn.Sequential()
        self.depthwise = _conv(wide, wide, stage.kernel, stride, groups=wide)
        self.project = _conv(wide, outputs, 1)[:2]  # no activation
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.is_residual else y


class EfficientNetLite(nn.Module):
    """Scaled images (N, 3, H, W) to five feature maps, the first (N, c, ceil(H / 2), ceil(W / 2)).

    Attributes:
        channels: Number of channels of each of the five feature maps.
    """

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        width, depth = _SCALES[variant]
        outputs = [_round_channels(stage.channels * width) for stage in _STAGES]
        self.channels = [outputs[tap] for tap in _TAPS]
        self.stem = _conv(3, _STEM, 3, stride=2)
        self.stages = nn.ModuleList()
        inputs = _STEM
        for number, (stage, channels) in enumerate(zip(_STAGES, outputs, strict=True)):
            is_outermost = number in (0, len(_STAGES) - 1)
            repeats = stage.repeats if is_outermost else math.ceil(stage.repeats * depth)
            blocks = [Block(inputs, stage, stage.stride, channels)]
            blocks += [Block(channels, stage, 1, channels) for _ in range(repeats - 1)]
            self.stages.append(nn.Sequential(*blocks))
            inputs = channels

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        x = self.stem(x)
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in _TAPS:
                features.append(x)
        return features


def name_as_published(encoder: EfficientNetLite) -> dict[str, str]:
    """Return the name in the published files of each tensor of this encoder."""
    names = {"stem.0": "_conv_stem", "stem.1": "_bn0"}
    blocks = [name for name, module in encoder.named_modules() if isinstance(module, Block)]
    for number, path in enumerate(blocks):
        for norm, part in enumerate(("expand", "depthwise", "project")):
            names[f"{path}.{part}.0"] = f"_blocks.{number}._{part}_conv"
            names[f"{path}.{part}.1"] = f"_blocks.{number}._bn{norm}"
    return {key: f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}" for key in encoder.state_dict()}


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPSILON),
        nn.ReLU6(inplace=True),
    )


def _round_channels(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of the divisor, but never down by more than 10%."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
