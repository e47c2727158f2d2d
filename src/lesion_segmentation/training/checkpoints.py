"""What a training needs to go on after its process was ended: the last finished epoch, in one file of plain data.

The order of the samples and their augmentation depend on the seed and the epoch alone, so they need no state.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lesion_segmentation.errors import InputError
from lesion_segmentation.files import replacing


@dataclass(frozen=True)
class Checkpoint:
    """The state after an epoch.

    Attributes:
        tensors: Of the network, its average and the optimiser, by name.
        values: What else they hold, as plain JSON values.
        history: One row an epoch so far.
        configuration: Settings and data that it belongs to.
        run_id: Of the MLflow run that wrote it.
    """

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]
    history: list[dict[str, float]]
    configuration: Mapping[str, Any]
    run_id: str


class CheckpointFile:
    """Where the checkpoint of a training stands; it is replaced as a whole after each epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the former checkpoint; a kill or a full disk leaves that whole."""
        described = {
            "values": json.dumps(checkpoint.values),
            "history": json.dumps(checkpoint.history),
            "configuration": json.dumps(checkpoint.configuration),
            "run_id": checkpoint.run_id,
        }
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
        with replacing(self.path) as path:
            path.write_bytes(save(tensors, metadata=described))

    def read(self, configuration: Mapping[str, Any]) -> Checkpoint | None:
        """The checkpoint, or None where a training was ended before its first epoch was.

        Raises:
            InputError: It belongs to another configuration, whose differences are named, or it is damaged.
        """
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                described = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            values, history, found = (json.loads(described[name]) for name in ("values", "history", "configuration"))
            checkpoint = Checkpoint(tensors, values, history, found, described["run_id"])
        except (SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise InputError(
                f"{self.path}: no checkpoint of this project, or damaged ({error}). Train from the beginning: "
                "leave out training.resume"
            ) from error
        _require_same(checkpoint.configuration, json.loads(json.dumps(configuration)), self.path)
        return checkpoint


def _require_same(found: Mapping[str, Any], expected: Mapping[str, Any], path: Path) -> None:
    names = sorted({*found, *expected})
    differences = [
        f"{name}: {found.get(name, 'nothing')} in the checkpoint, {expected.get(name, 'nothing')} now"
        for name in names
        if found.get(name) != expected.get(name)
    ]
    if differences:
        raise InputError.from_problems(
            f"{path} belongs to another training",
            differences,
            "Resume with the parameters of that run, or train from the beginning: leave out training.resume",
        )
