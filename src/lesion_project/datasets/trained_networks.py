"""Networks of earlier trainings in the catalog."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset

from lesion_segmentation.core.atomic_files import expand_home
from lesion_segmentation.core.errors import InputError


class TrainedNetworks(AbstractDataset[NoReturn, Any]):
    """Loads as a function from where a network is to the network: a file, an MLflow run's id, or models:/name@alias."""

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
    """Read a weights file, or the network that an MLflow run logged or that is registered in the store of the runs.

    Raises:
        InputError: There is neither.
    """
    from lesion_segmentation.model import load_network

    path = expand_home(place)
    registered = place.startswith("models:/")
    if not registered and (path.is_file() or path.suffix):
        return load_network(path)
    with tempfile.TemporaryDirectory() as folder:
        return load_network((_download_registered if registered else _download)(place, Path(folder)))


def _download_registered(uri: str, folder: Path) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        found = Path(download_artifacts(uri, dst_path=str(folder)))
        return next(found.rglob("network.safetensors"))
    except (MlflowException, OSError, StopIteration) as error:
        cause = (str(error).splitlines() or ["it holds none"])[0][:200]
        raise InputError(f"MLflow's registry gives no network for {uri} ({cause}).") from error


def _download(run_id: str, folder: Path) -> Path:
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    client = MlflowClient()
    try:
        (*_, logged) = client.get_run(run_id).outputs.model_outputs
        place = client.get_logged_model(logged.model_id).artifact_location
        path = download_artifacts(f"{place}/artifacts/network.safetensors", dst_path=str(folder))
    except (MlflowException, OSError, AttributeError, ValueError) as error:
        raise InputError(
            f"{run_id} is no weights file (.safetensors), and MLflow gives no network of a run of this id "
            f"({(str(error).splitlines() or ['it logged none'])[0][:200]})."
        ) from error
    return Path(path)
