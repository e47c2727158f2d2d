"""Catalog datasets whose locations are arguments of `kedro predict`: input images, the target, and true masks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lesion_project.datasets.read_only import ReadOnlyDataset
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.storage import Location, find_location
from lesion_segmentation.prediction import PredictionStore
from lesion_segmentation.prediction.input_images import SelectedImages, list_input_images, select_images


class PredictionTarget(NamedTuple):
    """Target and settings of a prediction.

    Attributes:
        store: The store in OUT.
        weights: A weights file, the id of an MLflow run, or models:/name@alias.
        workers, scheduler: Number of Dask workers to start, or address of a Dask scheduler; else None.
    """

    store: PredictionStore
    weights: str
    workers: int | None
    scheduler: str | None


class _Argument(ReadOnlyDataset):
    """Base of the datasets that an argument names.

    Args:
        arguments: source, target, weights, shard, truth, workers and scheduler of `kedro predict`.
        metadata: Metadata of the catalog entry.
    """

    def __init__(self, arguments: Mapping[str, Any] | None = None, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(metadata)
        self._arguments = dict(arguments or {})

    def _argument(self, name: str) -> str:
        if not self._arguments.get(name):
            raise InputError(f"There is no {name} to predict with. Run: kedro predict IN OUT --weights <file>")
        return str(self._arguments[name])

    def _location(self, name: str) -> Location:
        return find_location(self._argument(name))

    def _describe(self) -> dict[str, Any]:
        return {}  # a log must not name the files of a user


class InputImages(_Argument):
    """The images in IN."""

    def load(self) -> SelectedImages:
        return select_images(self._location("source"), self._arguments.get("shard"))


class TrueMasks(_Argument):
    """The files of the true masks by image name."""

    def load(self) -> dict[str, Path]:
        from lesion_segmentation.prediction.truth import find_truth

        return find_truth(Path(self._argument("truth")), list_input_images(self._location("source")))


class Target(_Argument):
    """The store in OUT, the weights and the workers."""

    def load(self) -> PredictionTarget:
        workers, scheduler = self._arguments.get("workers"), self._arguments.get("scheduler")
        store = PredictionStore(self._location("target"))
        return PredictionTarget(store, self._argument("weights"), int(workers) if workers else None, scheduler)
