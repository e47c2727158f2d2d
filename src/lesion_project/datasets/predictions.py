"""Anyone's pictures, the folder of their predictions, and true masks in the catalog; where they are, a command says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.storage import Location, find_location
from lesion_segmentation.prediction.tables import PredictionTables, read_tables


class _Place(AbstractDataset[Any, Any]):
    """What `kedro predict IN OUT` names.

    Args:
        places: source, target, weights, part, truth, workers and scheduler, as `kedro predict` gives them.
    """

    def __init__(self, places: Mapping[str, Any] | None = None, metadata: dict[str, Any] | None = None) -> None:
        self._places = dict(places or {})
        self.metadata = metadata

    def _place(self, name: str) -> str:
        if not self._places.get(name):
            raise InputError("Which pictures? They are predicted by: kedro predict IN OUT --weights <file>")
        return str(self._places[name])

    def _location(self, name: str) -> Location:
        return find_location(self._place(name))

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {}


class Pictures(_Place):
    """Loads as the pictures' files, and the name of the weights that are to predict them."""

    def load(self) -> Any:
        from lesion_segmentation.prediction.input_images import select_images

        return select_images(self._location("source"), self._places.get("part")), self._place("weights")

    def save(self, data: NoReturn) -> NoReturn:
        """Not possible: they are the user's."""
        raise NotImplementedError("pictures are read, not written")


class TrueMasks(_Place):
    """Loads as a mapping from a picture's name to the file of its true mask."""

    def load(self) -> dict[str, Path]:
        from lesion_segmentation.prediction.input_images import list_input_images
        from lesion_segmentation.prediction.truth import find_truth

        return find_truth(Path(self._place("truth")), list_input_images(self._location("source")))

    def save(self, data: NoReturn) -> NoReturn:
        """Not possible: they are the user's."""
        raise NotImplementedError("true masks are read, not written")


class Predictions(_Place):
    """A folder of predictions: saving streams them into it, loading gives its tables."""

    def load(self) -> PredictionTables:
        return read_tables(self._location("target"))

    def save(self, data: Any) -> None:
        """Predict what is not there yet."""
        workers = self._places.get("workers")
        data.write_to(self._location("target"), int(workers) if workers else None, self._places.get("scheduler"))
