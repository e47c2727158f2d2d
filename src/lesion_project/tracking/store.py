"""Location of MLflow's store, and checks that it answers."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from lesion_project.tracking.pending import without_retries
from lesion_segmentation.core.atomic_files import lock_file_of
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.storage import hide_passwords

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 600.0
"""Time that a trial waits for the store, since the other trials of the search are running meanwhile."""
PATIENCE_AT_END = 60.0
"""Time that a single run and the parent of trials wait for the store at their end, and every run for its lock."""
PAUSE_SECONDS = 3.0
ATTEMPTS = 3
"""Attempts for one request while the store is unreliable."""
Answer = TypeVar("Answer")


def resolve_uri(config: Mapping[str, str], root: Path) -> str:
    """Return the store's URI: MLFLOW_TRACKING_URI, or the configuration's."""
    return os.environ.get("MLFLOW_TRACKING_URI") or absolute_uri(config["tracking_uri"], root)


def resolve_experiment(config: Mapping[str, str], runtime: Mapping[str, Any]) -> str:
    """Return the experiment's name: --params experiment, MLFLOW_EXPERIMENT_NAME, or the configuration's."""
    chosen = config["experiment"] if "experiment" in runtime else os.environ.get("MLFLOW_EXPERIMENT_NAME")
    return str(chosen or config["experiment"])


def absolute_uri(tracking_uri: str, root: Path) -> str:
    """Resolve a SQLite file relative to the project, independently of the current folder."""
    prefix = "sqlite:///"
    if not tracking_uri.startswith(prefix):
        return tracking_uri
    if found := set("%?") & set(str(root)):
        raise InputError(
            f"MLflow cannot keep its store in {root}: it misreads {' and '.join(sorted(found))} in a path. "
            "Rename that folder, or set MLFLOW_TRACKING_URI to a store elsewhere."
        )
    return f"{prefix}{root / tracking_uri.removeprefix(prefix)}"


def probe(tracking_uri: str, patience: float = 0.0) -> None:
    """Request one experiment, without the minutes of retries that MLflow makes by default, for `patience` seconds.

    Raises:
        InputError: The store does not answer. The message has MLflow's reason and a remedy.
    """
    from mlflow import MlflowClient

    deadline, warned = time.monotonic() + patience, False
    while True:
        try:
            with without_retries(), _opening_alone(tracking_uri):
                MlflowClient(tracking_uri).search_experiments(max_results=1)
            return
        except Exception as error:  # stores and their drivers raise errors of many kinds
            if time.monotonic() >= deadline:
                raise InputError(explain(tracking_uri, error)) from error
        if not warned:
            logger.warning("MLflow's store does not answer. This run waits at most %.0f seconds.", patience)
            warned = True
        time.sleep(PAUSE_SECONDS)


@contextmanager
def _opening_alone(tracking_uri: str) -> Iterator[None]:
    """Let one run at a time open a SQLite store. Two that create its tables at once make each other fail.

    If another user owns the lock file, or a stopped process holds the lock, the store is opened without it.
    """
    lock = FileLock(lock_file_of(tracking_uri))
    if tracking_uri.startswith("sqlite:"):
        with suppress(OSError):
            lock.acquire(timeout=PATIENCE_AT_END)
    try:
        yield
    finally:
        lock.release()


def ask(tracking_uri: str, request: Callable[[], Answer]) -> Answer:
    """Make a request that may be repeated, and repeat it if the store disappears before it has answered."""
    from mlflow.exceptions import MlflowException

    for _ in range(ATTEMPTS - 1):
        try:
            return request()
        except MlflowException:
            probe(tracking_uri, PATIENCE_SECONDS)
    return request()


def explain(tracking_uri: str, error: Exception) -> str:
    """Say in one sentence what is wrong with a store, and in another how to repair it."""
    own = "unset MLFLOW_TRACKING_URI (or correct conf/<environment>/mlflow.yml) to use the project's own store"
    text = " ".join(hide_passwords(str(error)).split())
    store = hide_passwords(tracking_uri)
    if tracking_uri.startswith(("http:", "https:")):
        return f"MLflow's store {store} cannot be reached ({type(error).__name__}). Start that server, or {own}."
    if "out-of-date database schema" in text:
        return f"MLflow's store is of an older MLflow. Back it up, then run: mlflow db upgrade {store}"
    if "not a database" in text or "malformed" in text:
        return f"MLflow's store {store} is damaged. Restore a back-up, or move it away to start a new one."
    if "readonly" in text or "unable to open" in text:
        return f"MLflow's store {store} cannot be opened or written. Get permission to write there, or {own}."
    return f"MLflow's store {store} cannot be used ({text[:200]}). Name another one, or {own}."
