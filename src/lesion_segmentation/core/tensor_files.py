"""Safetensors with metadata: the one place that reads and writes them, for weights and checkpoints alike."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lesion_segmentation.core.atomic_files import atomic_write
from lesion_segmentation.core.errors import InputError


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors, and metadata of plain JSON values, to one file that is replaced as a whole."""
    # Layouts are changed on the device: a GPU does it many times faster than the copy to the host would.
    stored = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    described = {name: json.dumps(value) for name, value in metadata.items()}
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(stored, metadata=described))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a file, on the CPU, and the metadata that write_tensors wrote.

    Each tensor is copied to memory of its own: in the file it may begin at any address, and where the address
    is no multiple of 64, oneDNN takes other kernels, which add in another order and give other last bits.

    Raises:
        InputError: The file is damaged or no such file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            described = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: damaged, or no file of tensors ({error}).") from error
    return tensors, {name: _parse(text) for name, text in described.items()}


def find_mismatches(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """The names of the tensors that are missing, more, or of another type or shape, sorted."""
    return [
        name
        for name in sorted(expected.keys() | found.keys())
        if name not in expected or name not in found
        or (expected[name].shape, expected[name].dtype) != (found[name].shape, found[name].dtype)
    ]  # fmt: skip


def _parse(text: str) -> Any:
    """JSON; what is none, as in files of others or of former formats, stays a text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
