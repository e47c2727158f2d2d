"""Checkpoints: the state of a training after an epoch, in one file of plain data.

The order of the samples and their augmentation depend only on the seed and the epoch, so no random state is saved.
"""

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.recorded_settings import find_differences, rename_keys
from lesion_segmentation.core.tensor_files import read_tensors, write_tensors
from lesion_segmentation.training.settings import TrainingSettings

FORMAT_VERSION = 5
"""Format version of checkpoints. Version 4 has former names of settings and tensors, listed in
`lesion_segmentation.core.recorded_settings`. Versions 1 to 3 cannot be resumed: they lack the options of the network or
a digest of the metadata."""


@dataclass(frozen=True)
class Checkpoint:
    """The state after an epoch: that of the trainer, one row per finished epoch, and the settings of the training."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]
    history: list[dict[str, float]]
    configuration: Mapping[str, Any]
    run_id: str


class CheckpointFile:
    """The file that holds the newest checkpoint of a training.

    Args:
        path: The file, which need not exist.
        seconds_between: Minimum time between two checkpoints; with 0 one is due after each epoch.

    Attributes:
        epochs: Number of epochs in the checkpoint that this training wrote or resumed from, 0 if none.
    """

    def __init__(self, path: Path, seconds_between: float = 0.0) -> None:
        self.path, self.seconds_between = path, seconds_between
        self._written, self.epochs = -math.inf, 0

    def is_due(self) -> bool:
        """Return whether the last checkpoint is old enough."""
        return time.monotonic() - self._written >= self.seconds_between

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the former checkpoint, which stays intact if the process is killed or the disk is full."""
        self._written = time.monotonic()
        metadata = {name: getattr(checkpoint, name) for name in ("values", "history", "configuration", "run_id")}
        check = {"format_version": FORMAT_VERSION, "digest": _digest(metadata)}
        write_tensors(self.path, checkpoint.tensors, check | metadata)
        self.epochs = len(checkpoint.history)

    def read(self, configuration: Mapping[str, Any]) -> Checkpoint | None:
        """Return the checkpoint, or None if no epoch has ended yet.

        Raises:
            InputError: The file is damaged, or it belongs to another configuration.
        """
        if not self.path.is_file():
            return None
        try:
            tensors, metadata = read_tensors(self.path)
            version = metadata.pop("format_version", 1)
            if version not in (4, FORMAT_VERSION):
                raise InputError("another version of this project wrote it")
            if metadata.pop("digest", "") != _digest(metadata):
                raise InputError("its metadata were changed")
            checkpoint = Checkpoint(tensors, **metadata)
        except (InputError, TypeError) as error:
            raise InputError(
                f"{self.path} is not a checkpoint of this project, or it is damaged ({error}). Train from the start: "
                "leave out training.resume"
            ) from error
        if version < FORMAT_VERSION:
            tensors, settings = rename_keys(checkpoint.tensors), rename_keys(checkpoint.configuration)
            checkpoint = replace(checkpoint, tensors=tensors, configuration=settings)
        defaults = {f"training.{name}": value for name, value in TrainingSettings().model_dump(mode="json").items()}
        differences = find_differences(checkpoint.configuration, json.loads(json.dumps(configuration)), defaults)
        if differences:
            raise InputError.from_problems(
                f"{self.path} belongs to another training",
                [f"{name}: {earlier} in the checkpoint, {now} now" for name, earlier, now in differences],
                "Resume with the parameters of that run, or train from the start: leave out training.resume",
            )
        self.epochs = len(checkpoint.history)
        return checkpoint


def _digest(metadata: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()
