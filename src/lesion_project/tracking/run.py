"""One MLflow run per `kedro run`, through a client with an explicit run id.

The fluent API is thread-local and ends every run as FINISHED, so it is not used. mlflow is imported when a run starts.
"""

import atexit
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
from lesion_project.tracking.monitor import require_monitor, start_monitor
from lesion_project.tracking.pending import PendingCalls, without_retries
from lesion_project.tracking.store import ATTEMPTS, PATIENCE_SECONDS, ask, explain, probe
from lesion_segmentation.core.atomic_files import is_alive
from lesion_segmentation.core.display_names import name_source
from lesion_segmentation.core.errors import InputError, first_line
from lesion_segmentation.core.storage import hide_passwords
from lesion_segmentation.data.summary import data_hash

CREATION_TOKEN = "creation_token"
"""Tag that identifies a run whose creation the store did not confirm because its answer was lost."""


class TrackedRun:
    """A run in MLflow. Its status is RUNNING, and at the end exactly one of FINISHED, FAILED and KILLED.

    Args:
        tracking_uri: The store.
        experiment: Name of the MLflow experiment, which is created if it does not exist.
        artifacts: Folder for artifacts if the store is a SQLite file; a server has its own.
        described: Name and tags of the run.
        run_id: An existing run to continue, instead of creating one.

    Raises:
        MlflowException: The store refuses a request. `begin_run` explains this error.
        InputError: The store does not come back in time, the experiment is deleted or keeps its files elsewhere, or
            system metrics are enabled without psutil.
    """

    def __init__(
        self,
        tracking_uri: str,
        experiment: str,
        artifacts: Path,
        described: Description,
        run_id: str | None = None,
    ) -> None:
        import mlflow
        from mlflow import MlflowClient

        # Models and artifacts of other runs are read without this client.
        mlflow.set_tracking_uri(tracking_uri)
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        require_monitor()
        self.client = MlflowClient(tracking_uri)
        location = artifacts.as_uri() if tracking_uri.startswith("sqlite:") else None
        self.experiment_id = ask(tracking_uri, partial(self._find_experiment, experiment, location))
        ask(tracking_uri, self._end_stale_runs)
        if run_id is None:
            tags = {"host": _host(), "pid": str(os.getpid()), CREATION_TOKEN: uuid.uuid4().hex, **described.tags}
            is_child = "mlflow.parentRunId" in tags  # MLFLOW_RUN_NAME would give all trials the same name
            name = described.name if is_child else os.environ.get("MLFLOW_RUN_NAME") or described.name
            run_id = self._create(tracking_uri, name, tags)
        self.run_id = run_id
        self.tracking_uri = tracking_uri
        self.pending = PendingCalls()
        self.ended = False
        self._monitor = start_monitor(tracking_uri, run_id)
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
        """End the run and delete it from MLflow. This is for runs that had nothing to do."""
        self.end("FINISHED")
        self.client.delete_run(self.run_id)

    @property
    def page(self) -> str:
        """URL of the run's page, on the store's own server or on the local server that `mlflow ui` starts."""
        server = self.tracking_uri if self.tracking_uri.startswith("http") else "http://127.0.0.1:5000"
        return f"{server}/#/experiments/{self.experiment_id}/runs/{self.run_id}?workflowType=machine_learning"

    def flush(self, patience: float) -> str | None:
        """Send all pending calls in up to ATTEMPTS attempts.

        Args:
            patience: Seconds to wait after each attempt for a store that does not answer.

        Returns:
            A sentence about the calls that were not sent, or None if all were.
        """
        for _ in range(ATTEMPTS):
            if (error := self.pending.flush()) is None:
                return None
            try:
                probe(self.tracking_uri, patience)
            except InputError:
                break
        entries = "1 entry" if len(self.pending) == 1 else f"{len(self.pending)} entries"
        return f"MLflow lacks {entries} of run {self.run_id} ({first_line(error)})."

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Log nested parameters under dotted names such as `training.seed`."""
        from mlflow.entities import Param

        params = [Param(key, hide_passwords(str(value))) for key, value in flatten(parameters).items()]
        self.pending.put(partial(self.client.log_batch, self.run_id, params=params))

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log metrics in one request, all with the same step."""
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

    def _create(self, tracking_uri: str, name: str, tags: Mapping[str, str], attempts: int = ATTEMPTS) -> str:
        """Create a run, or find it if only the answer was lost. MLflow's own retries would create a second run."""
        from mlflow.exceptions import MlflowException

        try:
            with without_retries():
                return str(self.client.create_run(self.experiment_id, run_name=name, tags=dict(tags)).info.run_id)
        except MlflowException:
            if attempts == 1:
                raise
        probe(tracking_uri, PATIENCE_SECONDS)
        mine = f"tags.{CREATION_TOKEN} = '{tags[CREATION_TOKEN]}'"
        created = ask(tracking_uri, partial(self.client.search_runs, [self.experiment_id], mine))
        return str(created[0].info.run_id) if created else self._create(tracking_uri, name, tags, attempts - 1)

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


def begin_run(
    tracking_uri: str, experiment: str, artifacts: Path, described: Description, run_id: str | None = None
) -> TrackedRun:
    """Start a `TrackedRun`, which documents the arguments.

    Raises:
        InputError: The run cannot be started. If the store refuses it, the message has MLflow's reason and a remedy.
    """
    from mlflow.exceptions import MlflowException

    try:
        return TrackedRun(tracking_uri, experiment, artifacts, described, run_id)
    except MlflowException as error:
        raise InputError(explain(tracking_uri, error)) from error


def _now() -> int:
    """Return the time in milliseconds, MLflow's unit."""
    return int(time.time() * 1000)


def _host() -> str:
    """Return host name and network address, which distinguishes machines with the same host name."""
    return f"{socket.gethostname()}-{uuid.getnode():x}"
