"""Networks by architecture, and their weights: built, saved and loaded."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ValidationError

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.parameter_model import find_causes
from lesion_segmentation.core.tensor_files import read_tensors, write_tensors
from lesion_segmentation.model.metadata import Network, NetworkMetadata
from lesion_segmentation.model.monai_network import MonaiNetwork, MonaiOptions
from lesion_segmentation.model.segnet import SegNet, SegNetOptions
from lesion_segmentation.model.segnet_skip import SegNetSkip, SegNetSkipOptions
from lesion_segmentation.model.unet_lite import UNetLite, UNetLiteOptions


class Architecture(NamedTuple):
    """A class of networks, and the check of the options that it is built with."""

    network: type[Network]
    options: type[BaseModel]


ARCHITECTURES: dict[str, Architecture] = {
    "segnet": Architecture(SegNet, SegNetOptions),
    "segnet_skip": Architecture(SegNetSkip, SegNetSkipOptions),
    "unet_lite": Architecture(UNetLite, UNetLiteOptions),
    "monai": Architecture(MonaiNetwork, MonaiOptions),
}
"""By name. A network takes its options as keywords, and has `metadata`."""


def find_architecture(name: str) -> Architecture:
    """By name.

    Raises:
        InputError: There is none of this name.
    """
    if name not in ARCHITECTURES:
        raise InputError(f"The architecture is {name!r}, expected one of: {', '.join(sorted(ARCHITECTURES))}")
    return ARCHITECTURES[name]


def check_options(architecture: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with every default filled in.

    Raises:
        InputError: There is no such architecture, or it has no such option or value; all are named.
    """
    try:
        return find_architecture(architecture).options(**options).model_dump(mode="json")
    except ValidationError as error:
        known = ", ".join(find_architecture(architecture).options.model_fields)
        raise InputError.from_problems(
            f"The options of {architecture} cannot be used",
            find_causes(error),
            f"It has the options {known}. What conf/base sets and it has not (width, unpooling, logit_batch_norm) is "
            "set to null, as in conf/attention_unet.",
        ) from error


def build_network(metadata: NetworkMetadata) -> Network:
    """A network with fresh weights as `metadata` describes it.

    Raises:
        InputError: The architecture or one of its options is unknown.
    """
    options = check_options(metadata.architecture, metadata.options)
    network = find_architecture(metadata.architecture).network(**options)
    network.metadata = replace(metadata, options=options)
    return network


def save_network(network: Network, path: str | Path) -> None:
    """Write weights, running statistics and metadata (`network.metadata`) to one safetensors file, as a whole."""
    write_tensors(Path(path), network.own_state(), network.metadata.to_dict())


def load_network(path: str | Path) -> Network:
    """Build the network that save_network wrote, on the CPU, ready to predict.

    Raises:
        InputError: The file is damaged or was not written by save_network.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file. Expected the weights of a network (.safetensors).")
    try:
        tensors, described = read_tensors(Path(path))
        with torch.device("meta"):  # so that what a file claims of its size takes no memory
            network = build_network(NetworkMetadata.from_dict(described))
        network.load_own_state({name: _widen(tensor) for name, tensor in tensors.items()}, assign=True)
    except (InputError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{path}: not a network of this project, or damaged ({error}). "
            "Train it again: kedro run --pipelines=training"
        ) from error
    return network.eval()


def _widen(tensor: torch.Tensor) -> torch.Tensor:
    """Weights may be kept in half precision; networks compute in float32, or as they are told."""
    return tensor.float() if tensor.dtype == torch.float16 else tensor
