"""Build networks by architecture; save and load their weights."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ValidationError

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.parameter_model import describe_errors
from lesion_segmentation.core.tensor_files import read_tensors, write_tensors
from lesion_segmentation.model.metadata import Network, NetworkMetadata
from lesion_segmentation.model.monai_network import MonaiNetwork, MonaiOptions
from lesion_segmentation.model.segnet import SegNet, SegNetOptions
from lesion_segmentation.model.segnet_skip import SegNetSkip, SegNetSkipOptions
from lesion_segmentation.model.unet_lite import UNetLite, UNetLiteOptions


class Architecture(NamedTuple):
    """A network class and the parameter model of its options."""

    network: type[Network]
    options: type[BaseModel]


ARCHITECTURES: dict[str, Architecture] = {
    "segnet": Architecture(SegNet, SegNetOptions),
    "segnet_skip": Architecture(SegNetSkip, SegNetSkipOptions),
    "unet_lite": Architecture(UNetLite, UNetLiteOptions),
    "monai": Architecture(MonaiNetwork, MonaiOptions),
}
"""Architectures by name. A network takes its options as keywords and sets `metadata`."""


def find_architecture(name: str) -> Architecture:
    """Return the architecture with this name.

    Raises:
        InputError: There is no such architecture.
    """
    if name not in ARCHITECTURES:
        raise InputError(f"The architecture is {name!r}, expected one of: {', '.join(sorted(ARCHITECTURES))}.")
    return ARCHITECTURES[name]


def check_options(architecture: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as plain JSON values, with all defaults filled in.

    Raises:
        InputError: The architecture is unknown, or options or their values are invalid; the message lists all.
    """
    try:
        return find_architecture(architecture).options(**options).model_dump(mode="json")
    except ValidationError as error:
        known = ", ".join(find_architecture(architecture).options.model_fields)
        raise InputError.from_problems(
            f"The options of {architecture} cannot be used",
            describe_errors(error),
            f"It has the options {known}. Remove the others from the environment and the command line.",
        ) from error


def build_network(metadata: NetworkMetadata) -> Network:
    """Build the network that the metadata describe, with freshly initialized weights.

    Raises:
        InputError: The architecture is unknown, or an option or its value is invalid.
    """
    options = check_options(metadata.architecture, metadata.options)
    network = find_architecture(metadata.architecture).network(**options)
    network.metadata = replace(metadata, options=options)
    return network


def save_network(network: Network, path: str | Path) -> None:
    """Write weights, running statistics and `network.metadata` to a safetensors file, atomically."""
    write_tensors(Path(path), network.own_state(), network.metadata.to_dict())


def load_network(path: str | Path) -> Network:
    """Load a network that `save_network` wrote in this or an earlier version, on the CPU and in evaluation mode.

    Raises:
        InputError: The file is missing or damaged, or `save_network` did not write it.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file. Expected the weights of a network (.safetensors).")
    try:
        tensors, metadata = read_tensors(Path(path))
        with torch.device("meta"):  # the size that a damaged file declares must not allocate memory
            network = build_network(NetworkMetadata.from_dict(metadata))
        network.load_own_state({name: _widen(tensor) for name, tensor in tensors.items()}, assign=True)
    except (InputError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{path} is not a network of this project, or damaged ({error}). "
            "Train it again: kedro run --pipelines=training"
        ) from error
    return network.eval()


def _widen(tensor: torch.Tensor) -> torch.Tensor:
    """Convert weights that were saved in half precision: networks compute in float32 unless autocast changes it."""
    return tensor.float() if tensor.dtype == torch.float16 else tensor
