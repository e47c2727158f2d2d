"""What a training needs to go on after its process was ended: the state after an epoch, in one file of plain data.

The order of the samples and their changes depend on the seed and the epoch alone, so they need no state.
"""

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lesion_segmentation.core.differences import find_differences
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.tensor_files import read_tensors, write_tensors
from lesion_segmentation.training.settings import TrainingSettings

FORMAT_VERSION = 4
"""Of checkpoints. Those of version 1, of before weights had options, and of version 2, without a digest of what they
say of themselves, cannot be gone on from."""


@dataclass(frozen=True)
class Checkpoint:
    """The state after an epoch.

    Attributes:
        tensors: Of the network, its average and the optimizer, by name.
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
    """Where the checkpoint of a training stands; it is replaced as a whole.

    Args:
        path: Of the file.
        seconds_between: So long after a checkpoint none is due; 0 is one after each epoch.
    """

    def __init__(self, path: Path, seconds_between: float = 0.0) -> None:
        self.path, self.seconds_between = path, seconds_between
        self._written = -math.inf

    def is_due(self) -> bool:
        """Whether the last one was written long enough ago."""
        return time.monotonic() - self._written >= self.seconds_between

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the former checkpoint; a kill or a full disk leaves that whole."""
        self._written = time.monotonic()
        described = {name: getattr(checkpoint, name) for name in ("values", "history", "configuration", "run_id")}
        said = {"format_version": FORMAT_VERSION, "digest": _digest(described)}
        write_tensors(self.path, checkpoint.tensors, said | described)

    def read(self, configuration: Mapping[str, Any]) -> Checkpoint | None:
        """The checkpoint, or None where a training was ended before its first epoch was.

        Raises:
            InputError: It belongs to another configuration, whose differences are named, or it is damaged.
        """
        if not self.path.is_file():
            return None
        try:
            tensors, described = read_tensors(self.path)
            if described.pop("format_version", 1) != FORMAT_VERSION:
                raise InputError("another version of this project wrote it")
            if described.pop("digest", "") != _digest(described):
                raise InputError("what it says of itself was changed")
            checkpoint = Checkpoint(tensors, **described)
        except (InputError, TypeError) as error:
            raise InputError(
                f"{self.path}: no checkpoint of this project, or damaged ({error}). Train from the start: "
                "leave out training.resume"
            ) from error
        _require_same(checkpoint.configuration, json.loads(json.dumps(configuration)), self.path)
        return checkpoint


def _digest(described: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _require_same(found: Mapping[str, Any], expected: Mapping[str, Any], path: Path) -> None:
    defaults = {f"training.{name}": value for name, value in TrainingSettings().model_dump(mode="json").items()}
    differences = [
        f"{name}: {earlier} in the checkpoint, {now} now"
        for name, earlier, now in find_differences(found, expected, defaults)
    ]
    if differences:
        raise InputError.from_problems(
            f"{path} belongs to another training",
            differences,
            "Resume with the parameters of that run, or train from the start: leave out training.resume",
        )
