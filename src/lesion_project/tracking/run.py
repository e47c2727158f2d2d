"""One MLflow run per `kedro run`, through a client with an explicit run id.

The fluent API is thread-local and ends every run as FINISHED, so it is not used. mlflow is imported when a run starts.
"""

import atexit
import importlib.util
import logging
import os
import socket
import time
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from lesion_project.tracking.description import Description, flatten
from lesion_project.tracking.model import log_model, quiet
from lesion_project.tracking.pending import PendingCalls, without_retries
from lesion_project.tracking.store import ATTEMPTS, PATIENCE_SECONDS, ask, explain, probe
from lesion_segmentation.core.atomic_files import is_alive
from lesion_segmentation.core.display_names import name_source
from lesion_segmentation.core.errors import InputError, first_line, pluralize
from lesion_segmentation.core.storage import hide_passwords
from lesion_segmentation.data.summary import data_hash

CREATION_TOKEN = "creation_token"
"""Tag that identifies a run whose creation the store did not confirm because its answer was lost."""


class TrackedRun:
    """A run in MLflow. Its status is RUNNING, and at the end exactly one of FINISHED, FAILED and KILLED.

    The experiment is created if it does not exist. The folder `artifacts` is for a SQLite file; a server has its own.
    With `run_id`, this existing run is continued.

    Raises:
        InputError: The run cannot be started. If the store refuses it, the message has MLflow's reason and a remedy.
    """

    def __init__(
        self, tracking_uri: str, experiment: str, artifacts: Path, described: Description, run_id: str | None = None
    ) -> None:
        import mlflow
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        # Models and artifacts of other runs are read without this client.
        mlflow.set_tracking_uri(tracking_uri)
        _require_psutil()
        self.client = MlflowClient(tracking_uri)
        self.tracking_uri = tracking_uri
        location = artifacts.as_uri() if tracking_uri.startswith("sqlite:") else None
        try:
            self.experiment_id = ask(tracking_uri, partial(self._find_experiment, experiment, location))
            ask(tracking_uri, self._end_stale_runs)
            self.run_id = run_id or self._create(described)
        except MlflowException as error:
            raise InputError(explain(tracking_uri, error)) from error
        self.pending = PendingCalls()
        self.ended = False
        self._monitor = start_monitor(tracking_uri, self.run_id)
        atexit.register(self.end, "KILLED")

    def end(self, status: str) -> None:
        """Set the final status. Only the first call has an effect."""
        if not self.ended:
            self.ended = True
            atexit.unregister(self.end)
            self.pending.put(partial(self.client.set_terminated, self.run_id, status, _now()))
            if self._monitor is not None and status != "KILLED":  # a killed process must not wait for its monitor
                with without_retries():
                    self._monitor.finish()

    def discard(self) -> None:
        """End a run that had nothing to do, and delete it from MLflow."""
        self.end("FINISHED")
        self.client.delete_run(self.run_id)

    @property
    def page(self) -> str:
        """URL of the run's page, on the store's own server or on the local server that `mlflow ui` starts."""
        server = self.tracking_uri if self.tracking_uri.startswith("http") else "http://127.0.0.1:5000"
        return f"{server}/#/experiments/{self.experiment_id}/runs/{self.run_id}?workflowType=machine_learning"

    def flush(self, patience: float) -> str | None:
        """Send all pending calls. Return a sentence about those that were not sent, or None if all were.

        After each of ATTEMPTS attempts, a store that does not answer has `patience` seconds to do so.
        """
        for _ in range(ATTEMPTS):
            if (error := self.pending.flush()) is None:
                return None
            try:
                probe(self.tracking_uri, patience)
            except InputError:
                break
        entries = pluralize(len(self.pending), "entry", "entries")
        return f"MLflow lacks {entries} of run {self.run_id} ({first_line(error)})."

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Log nested parameters under dotted names such as `training.seed`."""
        from mlflow.entities import Param

        params = [Param(key, hide_passwords(str(value))) for key, value in flatten(parameters).items()]
        self.pending.put(partial(self.client.log_batch, self.run_id, params=params))

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        from mlflow.entities import Metric

        values = [Metric(key, float(value), _now(), step) for key, value in metrics.items()]
        self.pending.put(partial(self.client.log_batch, self.run_id, metrics=values))

    def log_epoch(self, row: Mapping[str, float]) -> None:
        """Log a row of the training history, with its epoch as the step."""
        self.log_metrics({key: value for key, value in row.items() if key != "epoch"}, step=int(row["epoch"]))

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        from mlflow.entities import RunTag

        values = [RunTag(key, str(value)) for key, value in tags.items()]
        self.pending.put(partial(self.client.log_batch, self.run_id, tags=values))

    def log_dataset(self, cases: pd.DataFrame) -> None:
        """Log the cases as the dataset input of the run, with the hash of their pixels as its digest."""
        from mlflow.data.pandas_dataset import from_pandas
        from mlflow.entities import DatasetInput

        with quiet():
            digest = data_hash(cases)
            dataset = from_pandas(cases, source="03_primary/cases.csv", name=name_source(cases), digest=digest)
            inputs = [DatasetInput(dataset._to_mlflow_entity())]
        self.pending.put(partial(self.client.log_inputs, self.run_id, datasets=inputs))

    def log_artifact(self, path: Path) -> None:
        self.pending.put(partial(self.client.log_artifact, self.run_id, str(path)))

    def log_model(self, weights: Path) -> None:
        """Log a weights file as a pyfunc model that predicts masks for images."""
        self.pending.put(partial(log_model, self.client, self.run_id, str(weights)))

    def _create(self, described: Description) -> str:
        """Create a run, or find it if only the answer was lost. MLflow's own retries would create a second run."""
        from mlflow.exceptions import MlflowException

        token = uuid.uuid4().hex
        tags = {"host": _host(), "pid": str(os.getpid()), CREATION_TOKEN: token, **described.tags}
        is_child = "mlflow.parentRunId" in tags  # MLFLOW_RUN_NAME would give all trials the same name
        name = described.name if is_child else os.environ.get("MLFLOW_RUN_NAME") or described.name
        create = partial(self.client.create_run, self.experiment_id, run_name=name, tags=tags)
        find = partial(self.client.search_runs, [self.experiment_id], f"tags.{CREATION_TOKEN} = '{token}'")
        for _ in range(ATTEMPTS - 1):
            try:
                with without_retries():
                    return str(create().info.run_id)
            except MlflowException:
                probe(self.tracking_uri, PATIENCE_SECONDS)
            if created := ask(self.tracking_uri, find):
                return str(created[0].info.run_id)
        with without_retries():
            return str(create().info.run_id)

    def _find_experiment(self, name: str, location: str | None) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self.client.create_experiment(name, artifact_location=location))
            except MlflowException:  # another run created it in the meantime
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            raise InputError(
                f"MLflow's experiment {name!r} is deleted. Restore it (mlflow experiments restore --experiment-id "
                f"{found.experiment_id}), or name another: --params experiment=<name>"
            )
        if location is not None and found.artifact_location != location:
            raise InputError(
                f"MLflow's experiment {name!r} keeps its files in {found.artifact_location}, but this project keeps "
                f"them in {location}. If the project was moved or copied, move it back, name another experiment "
                "(--params experiment=<name>), or remove mlflow.db to start a new store."
            )
        return str(found.experiment_id)

    def _end_stale_runs(self) -> None:
        """Set the status of runs of this machine to KILLED if their process no longer exists, as after SIGKILL."""
        mine = f"attributes.status = 'RUNNING' and tags.host = '{_host()}'"
        for run in self.client.search_runs([self.experiment_id], mine):
            pid = int(run.data.tags.get("pid", os.getpid()))
            if pid != os.getpid() and not is_alive(pid):
                self.client.set_terminated(run.info.run_id, "KILLED")


def _has_monitor() -> bool:
    """Return whether MLflow's own environment variable enables its system metrics."""
    from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING

    return bool(MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.get())


def _require_psutil() -> None:
    if _has_monitor() and importlib.util.find_spec("psutil") is None:
        raise InputError(
            "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING is set, but MLflow measures with psutil, which is not installed. "
            "Install it (python -m pip install psutil), or unset the variable."
        )


def start_monitor(tracking_uri: str, run_id: str) -> Any | None:
    """Start a monitor if system metrics are enabled. Its `finish` method ends it."""
    if not _has_monitor():
        return None
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)
    monitor = SystemMetricsMonitor(run_id, tracking_uri=tracking_uri, resume_logging=True)
    monitor.start()
    return monitor


def _now() -> int:
    """Return the time in milliseconds, MLflow's unit."""
    return int(time.time() * 1000)


def _host() -> str:
    """Return host name and network address, which distinguishes machines with the same host name."""
    return f"{socket.gethostname()}-{uuid.getnode():x}"
