"""Networks of earlier trainings in the catalog."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset

from lesion_segmentation.errors import InputError
from lesion_segmentation.files import expand_home


class EarlierNetworks(AbstractDataset[NoReturn, Any]):
    """Loads as a function from where a network is, a weights file or the id of an MLflow run, to the network."""

    def __init__(self, metadata: dict[str, Any] | None = None) -> None:
        self.metadata = metadata

    def load(self) -> Callable[[str], Any]:
        return find_network

    def save(self, data: NoReturn) -> NoReturn:
        """Not possible: a training writes its own network."""
        raise NotImplementedError("networks of earlier trainings are read, not written")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {}


def find_network(place: str) -> Any:
    """Read a weights file, or the network that an MLflow run logged; the store is the one that runs go to.

    Raises:
        InputError: There is neither.
    """
    from lesion_segmentation.model import load_network

    path = expand_home(place)
    if path.is_file() or path.suffix:
        return load_network(path)
    with tempfile.TemporaryDirectory() as folder:
        return load_network(_download(place, Path(folder)))


def _download(run_id: str, folder: Path) -> Path:
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        outputs = MlflowClient().get_run(run_id).outputs
        model_id = outputs.model_outputs[-1].model_id
        path = download_artifacts(f"models:/{model_id}", dst_path=str(folder))
        return next(Path(path).rglob("*.safetensors"))
    except (MlflowException, OSError, AttributeError, IndexError, StopIteration) as error:
        raise InputError(
            f"{run_id} is no weights file (.safetensors), and MLflow has no run of this id that logged a network."
        ) from error
