"""Catalog datasets whose locations are arguments of `kedro predict`: input images, the target, and true masks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lesion_project.datasets.atomic import Metadata, ReadOnlyDataset
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.storage import find_location
from lesion_segmentation.prediction import PredictionStore
from lesion_segmentation.prediction.input_images import list_input_images, select_images


class PredictArguments(ReadOnlyDataset):
    """Part of what the arguments of `kedro predict` name.

    Args:
        part: `images` loads as the selected images in IN, `masks` as the files of their true masks by image name, and
            `target` as a tuple of the store in OUT, the weights, and the number of Dask workers to start or the
            address of a Dask scheduler, or None.
        arguments: source, target, weights, shard, truth, workers and scheduler.
    """

    def __init__(
        self, part: Literal["images", "masks", "target"], arguments: Mapping[str, Any] | None, metadata: Metadata = None
    ) -> None:
        super().__init__(metadata)
        self._part, self._arguments = part, dict(arguments or {})

    def load(self) -> Any:
        if self._part == "images":
            return select_images(find_location(self._require("source")), self._arguments.get("shard"))
        if self._part == "masks":
            from lesion_segmentation.prediction.truth import find_truth

            return find_truth(Path(self._require("truth")), list_input_images(find_location(self._require("source"))))
        workers, scheduler = self._arguments.get("workers"), self._arguments.get("scheduler")
        store = PredictionStore(find_location(self._require("target")))
        return store, self._require("weights"), int(workers) if workers else None, scheduler

    def _require(self, name: str) -> str:
        if not self._arguments.get(name):
            raise InputError(f"There is no {name} to predict with. Run: kedro predict IN OUT --weights <file>")
        return str(self._arguments[name])

    def _describe(self) -> dict[str, Any]:
        return {"part": self._part}  # a log must not name the files of a user
