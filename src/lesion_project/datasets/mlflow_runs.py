"""Artifacts and networks of MLflow runs, from the store to which the project logs."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from lesion_project.datasets.atomic import Metadata, ReadOnlyDataset
from lesion_segmentation.core.atomic_files import expand_home
from lesion_segmentation.core.errors import InputError, first_line

WEIGHTS = "network.safetensors"


class RunArtifact(ReadOnlyDataset):
    """Artifact of an MLflow run, loaded by another dataset type.

    `runs` maps the roles baseline and candidate to run ids, as the parameter `comparison` gives them. A missing role
    fails only on loading.
    """

    def __init__(
        self, runs: Mapping[str, str] | None, role: str, artifact: str, dataset: str, metadata: Metadata = None
    ) -> None:
        super().__init__(metadata)
        self._run = runs.get(role) if isinstance(runs, Mapping) else None
        self._parameter = f"comparison.{role}"
        self._artifact, self._dataset = artifact, dataset

    def load(self) -> Any:
        if not self._run:
            raise InputError(f"{self._parameter} is not given. Use --params {self._parameter}=<MLflow run id>.")
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = download_run_file(self._run, self._artifact, folder)
            except InputError as error:
                raise InputError(
                    f"{self._parameter}: {error} Expected the id of a run that scored cases; the run's page shows it."
                ) from error
            loaded = AbstractDataset.from_config(self._artifact, {"type": self._dataset, "filepath": str(path)}).load()
            return dict(loaded) if isinstance(loaded, Mapping) else loaded  # read before the folder is removed

    def _exists(self) -> bool:
        return self._run is not None


class TrainedNetworks(ReadOnlyDataset):
    """The function `find_network`."""

    def load(self) -> Callable[[str], Any]:
        return find_network


def find_network(name: str) -> Any:
    """Load a network by the path of its weights file, the id of the MLflow run that logged it, or models:/name@alias.

    Raises:
        InputError: There is no such network.
    """
    from lesion_segmentation.model import load_network

    if is_weights_file(name):
        return load_network(expand_home(name))
    with tempfile.TemporaryDirectory() as folder:
        return load_network(_download_network(name, folder))


def is_weights_file(name: str) -> bool:
    """Return whether the name of a network is the path of a file, which need not exist."""
    path = expand_home(name)
    return not name.startswith("models:/") and (path.is_file() or bool(path.suffix))


def download_run_file(run_id: str, name: str, folder: str) -> Path:
    """Download the artifact `name` of a run into a folder, or raise an InputError if MLflow has none."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        return Path(MlflowClient().download_artifacts(run_id, name, folder))
    except (MlflowException, OSError) as error:
        raise InputError(f"MLflow has no {name} of the run {run_id} ({first_line(error)}).") from error


def _download_network(name: str, folder: str) -> Path:
    """Download the weights file of a registered model (models:/name@alias), or of the model that this run logged."""
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    uri = name
    try:
        if not name.startswith("models:/"):
            client = MlflowClient()
            outputs = client.get_run(name).outputs
            if not outputs or not outputs.model_outputs:
                raise FileNotFoundError("the run logged no network")
            logged = client.get_logged_model(outputs.model_outputs[-1].model_id)
            uri = f"{logged.artifact_location}/artifacts/{WEIGHTS}"
        found = Path(download_artifacts(uri, dst_path=folder))
        weights = found if found.is_file() else next(found.rglob(WEIGHTS), None)
        if weights is None:
            raise FileNotFoundError(f"the model holds no {WEIGHTS}")
        return weights
    except (MlflowException, OSError) as error:
        raise InputError(
            f"{name} is not a weights file (.safetensors), and MLflow has no such network ({first_line(error)}). "
            "Expected a file, the id of an MLflow run that trained a network, or models:/<name>@<alias>."
        ) from error
