"""A network and the checkpoint of its training in the catalog."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset
from kedro_datasets._typing import JSONPreview

from lesion_project.datasets.atomic import AtomicFile, readable


class NetworkDataset(AtomicFile):
    """A network with its metadata, as one safetensors file."""

    def load(self) -> Any:
        """Build the network on the CPU, ready to predict."""
        from lesion_segmentation.model import load_network

        with readable(self._filepath):
            return load_network(self._filepath)

    def save(self, data: Any) -> None:
        """Write weights and metadata; what stood there before is replaced only when that succeeded."""
        from lesion_segmentation.model import save_network

        save_network(data, self._filepath)

    def preview(self) -> JSONPreview:
        """Its metadata, and the shapes of its tensors, without reading the weights."""
        from safetensors import safe_open

        with readable(self._filepath), safe_open(self._filepath, framework="np") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (not a mapping)
            described = {name: json.loads(text) for name, text in (file.metadata() or {}).items()}
        return JSONPreview(json.dumps({**described, "tensors": shapes}))


class EncoderFolder(AbstractDataset[NoReturn, Any]):
    """A folder of encoder weights, as a mapping from name to a function that reads them; empty where there is none."""

    def __init__(self, path: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(path)
        self.metadata = metadata

    def load(self) -> dict[str, Callable[[], Any]]:
        from lesion_segmentation.model.encoders import read_encoder

        return {file.stem: partial(read_encoder, file) for file in sorted(self._path.glob("*.safetensors"))}

    def save(self, data: NoReturn) -> NoReturn:
        """Not possible: `make encoders` brings them."""
        raise NotImplementedError("encoder weights are fetched, not written by a node")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._path)}


class TrainingCheckpoint(AtomicFile):
    """The place of a training's checkpoint, which the training itself reads and writes.

    Args:
        filepath: Of the checkpoint.
        seconds_between: So long after a checkpoint none is written, but for the last.
    """

    def __init__(self, filepath: str, seconds_between: float = 0.0, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath, metadata)
        self._seconds_between = seconds_between

    def load(self) -> Any:
        """Give the place, whether there is a file yet or not."""
        from lesion_segmentation.training.checkpoints import CheckpointFile

        return CheckpointFile(self._filepath, self._seconds_between)

    def save(self, data: Any) -> None:
        """Not possible: the training writes it itself."""
        raise NotImplementedError("the training writes its checkpoint itself")

    def _exists(self) -> bool:
        return True
