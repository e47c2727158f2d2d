"""Safetensors files with metadata, the format of weights and checkpoints."""

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
    """Write tensors and metadata, whose values must be serializable as JSON, atomically to one file."""
    # contiguous() runs before the copy to the host, since a GPU changes layouts many times faster.
    stored = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    described = {name: json.dumps(value) for name, value in metadata.items()}
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(stored, metadata=described))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a file, on the CPU, and the metadata that `write_tensors` wrote.

    A damaged file, or one of another format, raises an InputError, to which callers add the remedy.

    Each tensor is copied to memory of its own. In the file it may begin at any address, and if the address is not a
    multiple of 64, oneDNN selects other kernels, which add in another order and return other last bits.
    """
    try:
        with safe_open(path, framework="pt") as file:
            described = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged or not a safetensors file ({error}).") from error
    return tensors, {name: _parse(text) for name, text in described.items()}


def find_mismatches(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Return the sorted names of the tensors that are missing, unexpected, or of another shape or data type."""
    return [
        name
        for name in sorted(expected.keys() | found.keys())
        if name not in expected or name not in found
        or (expected[name].shape, expected[name].dtype) != (found[name].shape, found[name].dtype)
    ]  # fmt: skip


def _parse(text: str) -> Any:
    """Parse JSON. Text that is not JSON, as in files of other programs or earlier formats, is returned as it is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
