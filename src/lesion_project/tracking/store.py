"""Where MLflow keeps runs, and whether it can be reached."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lesion_project.tracking.pending import without_retries
from lesion_segmentation.core.errors import InputError

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 600.0
"""Of a trial: its siblings are running, and what they tell is kept until the store is back."""
PAUSE_SECONDS = 3.0
TRIES = 3
"""Of what a store is asked, or told to make, while it comes and goes."""
Answer = TypeVar("Answer")


def resolve_uri(config: Mapping[str, str], root: Path) -> str:
    """The store: MLFLOW_TRACKING_URI, or else the configuration's."""
    return os.environ.get("MLFLOW_TRACKING_URI") or absolute_uri(config["tracking_uri"], root)


def resolve_experiment(config: Mapping[str, str], runtime: Mapping[str, Any]) -> str:
    """The experiment: --params experiment, or else MLFLOW_EXPERIMENT_NAME, or else the configuration's."""
    asked_for = config["experiment"] if "experiment" in runtime else os.environ.get("MLFLOW_EXPERIMENT_NAME")
    return asked_for or config["experiment"]


def absolute_uri(tracking_uri: str, root: Path) -> str:
    """SQLite files of the configuration stand in the project, wherever the command was called.

    Raises:
        InputError: MLflow would read the path as another one.
    """
    prefix = "sqlite:///"
    if not tracking_uri.startswith(prefix):
        return tracking_uri
    if found := set("%?") & set(str(root)):
        raise InputError(
            f"MLflow cannot keep its store in {root}: of {' and '.join(sorted(found))} in a path it makes something "
            "else. Rename that folder, or set MLFLOW_TRACKING_URI to a store elsewhere."
        )
    return f"{prefix}{root / tracking_uri.removeprefix(prefix)}"


def probe(tracking_uri: str, patience: float = 0.0) -> None:
    """Ask the store for one experiment, without the minutes of retries that MLflow makes by default.

    Args:
        tracking_uri: The store.
        patience: Seconds for which it is asked again: a trial in the middle of others waits for a server to be back.

    Raises:
        InputError: It does not answer; in MLflow's words and with its remedy.
    """
    from mlflow import MlflowClient

    deadline, told = time.monotonic() + patience, False
    while True:
        try:
            with without_retries():
                MlflowClient(tracking_uri).search_experiments(max_results=1)
            return
        except Exception as error:  # whatever the store is, the user needs to hear what is wrong with it
            if time.monotonic() >= deadline:
                raise InputError(explain(tracking_uri, error)) from error
        if not told:
            logger.warning("MLflow's store does not answer. It is waited for, %.0f minutes at most.", patience / 60)
            told = True
        time.sleep(PAUSE_SECONDS)


def ask(tracking_uri: str, question: Callable[[], Answer]) -> Answer:
    """What may be asked twice, asked again where the store went away in the middle of its answer.

    Raises:
        MlflowException: The answer of a store that is there.
        InputError: It is not back in time.
    """
    from mlflow.exceptions import MlflowException

    for _ in range(TRIES - 1):
        try:
            return question()
        except MlflowException:
            probe(tracking_uri, PATIENCE_SECONDS)
    return question()


def explain(tracking_uri: str, error: Exception) -> str:
    """What is wrong with a store, and what mends it: one sentence, with MLflow's own remedy where it has one."""
    own = "unset MLFLOW_TRACKING_URI (or mend conf/<environment>/mlflow.yml) to use the project's own store"
    text = " ".join(str(error).split())
    if tracking_uri.startswith(("http:", "https:")):
        return f"MLflow's store {tracking_uri} cannot be reached ({type(error).__name__}). Start that server, or {own}."
    if "out-of-date database schema" in text:
        return f"MLflow's store is of an older MLflow. Back it up, then: mlflow db upgrade {tracking_uri}"
    if "not a database" in text or "malformed" in text:
        return f"MLflow's store {tracking_uri} is damaged. Put a back-up in its place, or move it away to begin anew."
    if "readonly" in text or "unable to open" in text:
        return f"MLflow's store {tracking_uri} cannot be opened or written. Get permission to write there, or {own}."
    return f"MLflow's store {tracking_uri} cannot be used ({text[:200]}). Name another one, or {own}."
