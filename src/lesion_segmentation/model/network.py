"""What a network is and was trained with: kept on the network and in its weights file."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Literal

from torch import nn

Unpooling = Literal["indices", "nearest"]


@dataclass(frozen=True)
class NetworkMetadata:
    """Everything needed to build the network again and to apply it.

    Attributes:
        architecture: A key of `lesion_segmentation.model.ARCHITECTURES`.
        width: Factor on every channel count.
        unpooling: How the decoder brings resolution back.
        logit_batch_norm: Whether the last convolution is followed by a batch norm.
        input_mean: Subtracted from raw 0 to 255 pixels, by channel (RGB); 0 means raw input.
        input_std: What the difference is divided by.
        threshold: Probabilities above it are lesion.
        split_hash: Of the split it was trained under.
        mlflow_run_id: Of the run that trained it.
    """

    architecture: str
    width: float
    unpooling: Unpooling
    logit_batch_norm: bool
    input_mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    input_std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    threshold: float = 0.5
    split_hash: str = ""
    mlflow_run_id: str = ""

    def to_strings(self) -> dict[str, str]:
        """As safetensors keeps it: every value a JSON text."""
        return {name: json.dumps(value) for name, value in asdict(self).items()}

    @classmethod
    def from_strings(cls, strings: dict[str, str]) -> "NetworkMetadata":
        """The reverse of to_strings; a missing field raises KeyError."""
        values = {field.name: json.loads(strings[field.name]) for field in fields(cls)}
        values |= {name: tuple(values[name]) for name in ("input_mean", "input_std")}
        return cls(**values)


class Network(nn.Module):
    """Any of the project's networks: scaled images (N, 3, H, W) to logits (N, 1, H, W), and its metadata."""

    metadata: NetworkMetadata
