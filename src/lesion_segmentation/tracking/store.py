"""Where MLflow keeps runs, and whether it can be reached."""

import os
from collections.abc import Mapping
from pathlib import Path

from lesion_segmentation.errors import InputError
from lesion_segmentation.tracking.outbox import without_retries


def resolve_uri(config: Mapping[str, str], root: Path) -> str:
    """The store: MLFLOW_TRACKING_URI, or else the configuration's."""
    return os.environ.get("MLFLOW_TRACKING_URI") or absolute_uri(config["tracking_uri"], root)


def absolute_uri(tracking_uri: str, root: Path) -> str:
    """SQLite files of the configuration stand in the project, wherever the command was called."""
    prefix = "sqlite:///"
    return f"{prefix}{root / tracking_uri.removeprefix(prefix)}" if tracking_uri.startswith(prefix) else tracking_uri


def probe(tracking_uri: str) -> None:
    """Ask the store for one experiment, without the minutes of retries that MLflow makes by default."""
    from mlflow import MlflowClient

    try:
        with without_retries():
            MlflowClient(tracking_uri).search_experiments(max_results=1)
    except Exception as error:  # whatever the store is, the user needs to hear that it is not there
        raise InputError(
            f"MLflow's store {tracking_uri} cannot be reached ({type(error).__name__}). Start that server, or unset "
            "MLFLOW_TRACKING_URI (or mend conf/<environment>/mlflow.yml) to use the project's own store."
        ) from error
