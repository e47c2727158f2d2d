"""Downloads from the MLflow store of the project's runs."""

import os
from pathlib import Path

from lesion_segmentation.core.errors import InputError, first_line

WEIGHTS = "network.safetensors"


def download_run_file(run_id: str, name: str, folder: str | Path) -> Path:
    """Download the artifact `name` of a run into a folder.

    Raises:
        InputError: MLflow has no such run or artifact.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    _hide_progress()
    try:
        return Path(MlflowClient().download_artifacts(run_id, name, str(folder)))
    except (MlflowException, OSError) as error:
        raise InputError(f"MLflow has no {name} of the run {run_id} ({first_line(error)}).") from error


def download_network(name: str, folder: str | Path) -> Path:
    """Download the weights file of a registered model (models:/name@alias) or of the model that a run logged (its id).

    Raises:
        InputError: MLflow has no such model or run, or it holds no weights file of this project.
    """
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    _hide_progress()
    uri = name
    try:
        if not name.startswith("models:/"):
            client = MlflowClient()
            outputs = client.get_run(name).outputs
            if not outputs or not outputs.model_outputs:
                raise FileNotFoundError("the run logged no network")
            logged = client.get_logged_model(outputs.model_outputs[-1].model_id)
            uri = f"{logged.artifact_location}/artifacts/{WEIGHTS}"
        found = Path(download_artifacts(uri, dst_path=str(folder)))
        weights = found if found.is_file() else next(found.rglob(WEIGHTS), None)
        if weights is None:
            raise FileNotFoundError(f"the model holds no {WEIGHTS}")
        return weights
    except (MlflowException, OSError) as error:
        raise InputError(
            f"{name} is not a weights file (.safetensors), and MLflow has no such network ({first_line(error)}). "
            "Expected a file, the id of an MLflow run that trained a network, or models:/<name>@<alias>."
        ) from error


def _hide_progress() -> None:
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
