"""Weights as safetensors, with what is needed to build and apply the network in the file's own header."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from lesion_segmentation.errors import InputError
from lesion_segmentation.model.network import Network, NetworkMetadata
from lesion_segmentation.model.segnet import SegNet

ARCHITECTURES = {"segnet": SegNet}
"""Name to class; every class takes width, unpooling and logit_batch_norm and has the attribute `metadata`."""


def build_network(metadata: NetworkMetadata) -> Network:
    """A network with fresh weights as `metadata` describes it."""
    if metadata.architecture not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise InputError(f"training.architecture is {metadata.architecture!r}, expected one of: {known}")
    network: Network = ARCHITECTURES[metadata.architecture](
        width=metadata.width, unpooling=metadata.unpooling, logit_batch_norm=metadata.logit_batch_norm
    )
    network.metadata = metadata
    return network


def save_network(network: Network, path: str | Path) -> None:
    """Write weights, running statistics and metadata (`network.metadata`) to one safetensors file."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    Path(path).write_bytes(save(tensors, metadata=network.metadata.to_strings()))


def load_network(path: str | Path) -> Network:
    """Build the network that save_network wrote, on the CPU, ready to predict.

    Raises:
        InputError: The file is damaged or was not written by save_network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = NetworkMetadata.from_strings(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        network = build_network(metadata)
        network.load_state_dict(tensors)
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise InputError(
            f"{path}: not a network of this project, or damaged ({error}). "
            "Train it again: kedro run --pipelines=training"
        ) from error
    return network.eval()
