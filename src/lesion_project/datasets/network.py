"""Networks, pretrained weights and the training checkpoint in the catalog."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from kedro_datasets._typing import JSONPreview

from lesion_project.datasets.atomic import AtomicFile, Metadata, ReadOnlyDataset, readable


class NetworkDataset(AtomicFile):
    """A network with its metadata in one safetensors file."""

    def load(self) -> Any:
        """Return the network on the CPU in evaluation mode."""
        from lesion_segmentation.model import load_network

        with readable(self._filepath):
            return load_network(self._filepath)

    def save(self, data: Any) -> None:
        from lesion_segmentation.model import save_network

        save_network(data, self._filepath)

    def preview(self) -> JSONPreview:
        """Return the metadata and the shapes of the tensors, without reading the weights."""
        from safetensors import safe_open

        with readable(self._filepath), safe_open(self._filepath, framework="np") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (not a mapping)
            described = {name: json.loads(text) for name, text in (file.metadata() or {}).items()}
        return JSONPreview(json.dumps({**described, "tensors": shapes}))


class PretrainedFolder(ReadOnlyDataset):
    """Pretrained weights, which `make weights` downloads, as a mapping from name to a function that reads them."""

    def __init__(self, path: str, metadata: Metadata = None) -> None:
        super().__init__(metadata)
        self._path = Path(path)

    def load(self) -> dict[str, Callable[[], Any]]:
        from lesion_segmentation.model.pretrained import read_pretrained

        return {file.stem: partial(read_pretrained, file) for file in sorted(self._path.glob("*.safetensors"))}


class TrainingCheckpoint(ReadOnlyDataset):
    """File of the training checkpoint, which the training itself reads and writes, and which need not exist.

    `seconds_between` is the minimum time between two checkpoints, except for the last one.
    """

    def __init__(self, filepath: str, seconds_between: float = 0.0, metadata: Metadata = None) -> None:
        super().__init__(metadata)
        self._filepath, self._seconds_between = Path(filepath), seconds_between

    def load(self) -> Any:
        from lesion_segmentation.training.checkpoints import CheckpointFile

        return CheckpointFile(self._filepath, self._seconds_between)
