"""Build networks by architecture; save and load their weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn

from lesion_segmentation.core.errors import InputError, pluralize
from lesion_segmentation.core.parameter_model import describe_errors
from lesion_segmentation.core.tensor_files import read_tensors, write_tensors
from lesion_segmentation.model.metadata import Network, NetworkMetadata
from lesion_segmentation.model.monai_network import MonaiNetwork, MonaiOptions
from lesion_segmentation.model.segnet import SegNet, SegNetOptions
from lesion_segmentation.model.segnet_skip import SegNetSkip, SegNetSkipOptions
from lesion_segmentation.model.u2netp import U2NetP, U2NetPOptions
from lesion_segmentation.model.unet_lite import UNetLite, UNetLiteOptions

MAX_MODULES, MAX_PARAMETERS = 20_000, 500_000_000


class Architecture(NamedTuple):
    """A network class and the parameter model of its options."""

    network: type[Network]
    options: type[BaseModel]


ARCHITECTURES: dict[str, Architecture] = {
    "segnet": Architecture(SegNet, SegNetOptions),
    "segnet_skip": Architecture(SegNetSkip, SegNetSkipOptions),
    "unet_lite": Architecture(UNetLite, UNetLiteOptions),
    "u2netp": Architecture(U2NetP, U2NetPOptions),
    "monai": Architecture(MonaiNetwork, MonaiOptions),
}
"""Architectures by name. A network takes its options as keywords and sets `metadata`."""


def check_options(architecture: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as plain JSON values, with all defaults filled in. An InputError lists all invalid ones."""
    if architecture not in ARCHITECTURES:
        raise InputError(f"The architecture is {architecture!r}, expected one of: {', '.join(sorted(ARCHITECTURES))}.")
    model = ARCHITECTURES[architecture].options
    try:
        return model(**options).model_dump(mode="json")
    except ValidationError as error:
        known = ", ".join(model.model_fields)
        raise InputError.from_problems(
            f"The options of {architecture} cannot be used",
            describe_errors(error),
            f"It has the options {known}. Remove the others from the environment and the command line.",
        ) from error


def build_network(metadata: NetworkMetadata) -> Network:
    """Build the network that the metadata describe, with fresh weights. Errors are those of `check_options`."""
    options = check_options(metadata.architecture, metadata.options)
    with _limit_size():
        network = ARCHITECTURES[metadata.architecture].network(**options)
    network.metadata = replace(metadata, options=options)
    return network


@contextmanager
def _limit_size() -> Iterator[None]:
    """Stop building a network in this context when it exceeds MAX_MODULES or MAX_PARAMETERS."""
    modules = parameters = 0

    def add(_: Any, __: str, added: Any) -> None:
        nonlocal modules, parameters
        modules += isinstance(added, nn.Module)
        parameters += added.numel() if isinstance(added, Tensor) else 0
        if modules > MAX_MODULES or parameters > MAX_PARAMETERS:
            raise InputError(f"The network has over {MAX_MODULES:,} modules or {MAX_PARAMETERS:,} parameters.")

    hooks = nn.modules.module
    with hooks.register_module_module_registration_hook(add), hooks.register_module_parameter_registration_hook(add):
        yield


def save_network(network: Network, path: str | Path) -> None:
    """Write weights, running statistics and `network.metadata` to a safetensors file, atomically."""
    write_tensors(Path(path), network.own_state(), network.metadata.to_dict())


def load_network(path: str | Path) -> Network:
    """Load a network that `save_network` wrote in this or an earlier version, on the CPU and in evaluation mode.

    An InputError says that the file is missing or damaged, or that `save_network` did not write it.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file. Expected the weights of a network (.safetensors).")
    try:
        tensors, metadata = read_tensors(Path(path))
        with torch.device("meta"):  # the size that a damaged file declares must not allocate memory
            network = build_network(NetworkMetadata.from_dict(metadata))
        # Weights may be saved in half precision, but networks compute in float32 unless autocast changes it.
        half = {name: tensor.float() for name, tensor in tensors.items() if tensor.dtype == torch.float16}
        network.load_own_state(tensors | half, assign=True)
        # The extremes show NaN and infinity in a tenth of the time of a check of each value.
        if wrong := [name for name, tensor in tensors.items() if not all(end.isfinite() for end in tensor.aminmax())]:
            raise ValueError(f"{pluralize(len(wrong), 'tensor')} with values that are not finite, such as {wrong[0]}")
    except (InputError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{path} is not a network of this project, or damaged ({error}). "
            "Train it again: kedro run --pipelines=training"
        ) from error
    return network.eval()
