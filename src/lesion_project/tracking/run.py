"""MLflow: exactly one run per `kedro run`, through a client with an explicit run id.

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
from lesion_project.tracking.pending import Message, PendingCalls, read_unsent, without_retries, write_unsent
from lesion_project.tracking.store import PATIENCE_SECONDS, TRIES, ask, explain, probe
from lesion_segmentation.core.atomic_files import is_alive
from lesion_segmentation.core.display_names import name_source
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.storage import hide_passwords
from lesion_segmentation.data.summary import data_hash

MARK = "begun_as"
"""The tag by which a run is found whose making was not answered."""


class TrackedRun:
    """One run in MLflow, from RUNNING to exactly one of FINISHED, FAILED and KILLED."""

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

        mlflow.set_tracking_uri(tracking_uri)  # for what has no client of its own: models, artifacts of other runs
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        require_monitor()
        self.client = MlflowClient(tracking_uri)
        place = artifacts.as_uri() if tracking_uri.startswith("sqlite:") else None
        self.experiment_id = ask(tracking_uri, partial(self._experiment, experiment, place))
        ask(tracking_uri, self._end_stale_runs)
        if run_id is None:  # else a run goes on that was begun earlier
            tags = {"host": _host(), "pid": str(os.getpid()), MARK: uuid.uuid4().hex, **described.tags}
            child = "mlflow.parentRunId" in tags  # one of several that a variable would give the same name
            name = described.name if child else os.environ.get("MLFLOW_RUN_NAME") or described.name
            run_id = self._create(tracking_uri, name, tags)
        self.run_id = run_id
        self.tracking_uri = tracking_uri
        self.pending = PendingCalls(partial(send, self.client, run_id))
        self.ended = False
        self._monitor = start_monitor(tracking_uri, run_id)
        atexit.register(self.end, "KILLED")

    def end(self, status: str) -> None:
        """Set the status, once: what was said first stands."""
        if not self.ended:
            self.ended = True
            atexit.unregister(self.end)
            self.pending.put({"kind": "status", "status": status, "time": _now()})
            if self._monitor is not None and status != "KILLED":  # which has no time for it
                with without_retries():
                    self._monitor.finish()

    def discard(self) -> None:
        """Take the run back: nothing was done in it."""
        self.end("FINISHED")
        self.client.delete_run(self.run_id)

    @property
    def page(self) -> str:
        """Where MLflow shows it: on the store's own server, or on one that `mlflow ui` starts here."""
        server = self.tracking_uri if self.tracking_uri.startswith("http") else "http://127.0.0.1:5000"
        return f"{server}/#/experiments/{self.experiment_id}/runs/{self.run_id}?workflowType=machine_learning"

    def keep_unsent(self, folder: Path) -> Path | None:
        """Try once more to send what waits; what cannot be sent is put into a file, which is given back."""
        if self.pending.flush() is None:
            return None
        path = folder / f"unsent_{self.run_id}.json"
        write_unsent(path, self.tracking_uri, self.run_id, self.pending.waiting)
        return path

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Nested parameters as `a.b.c`."""
        flat = {key: hide_passwords(str(value)) for key, value in flatten(parameters).items()}
        self.pending.put({"kind": "parameters", "parameters": flat})

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """All at once, on one step."""
        values = {key: float(value) for key, value in metrics.items()}
        self.pending.put({"kind": "metrics", "metrics": values, "step": step, "time": _now()})

    def log_epoch(self, row: Mapping[str, float]) -> None:
        """A row of the training history, on the epoch as its step."""
        self.log_metrics({key: value for key, value in row.items() if key != "epoch"}, step=int(row["epoch"]))

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        self.pending.put({"kind": "tags", "tags": {key: str(value) for key, value in tags.items()}})

    def log_dataset(self, cases: pd.DataFrame) -> None:
        """The cases as MLflow's dataset input, with the digest of their pixels."""
        from mlflow.data.pandas_dataset import from_pandas

        with quiet():
            digest = data_hash(cases)
            dataset = from_pandas(cases, source="03_primary/cases.csv", name=name_source(cases), digest=digest)
            self.pending.put({"kind": "dataset", "dataset": dict(dataset._to_mlflow_entity())})

    def log_artifact(self, path: Path) -> None:
        self.pending.put({"kind": "artifact", "path": str(path)})

    def log_model(self, weights: Path) -> None:
        """A weights file as a pyfunc model that gives masks for images, with this package's code."""
        self.pending.put({"kind": "model", "path": str(weights)})

    def _create(self, tracking_uri: str, name: str, tags: Mapping[str, str], tries: int = TRIES) -> str:
        """A run, once: where only the answer was lost it is there, and MLflow's own retries would make another."""
        from mlflow.exceptions import MlflowException

        try:
            with without_retries():
                return str(self.client.create_run(self.experiment_id, run_name=name, tags=dict(tags)).info.run_id)
        except MlflowException:
            if tries == 1:
                raise
        probe(tracking_uri, PATIENCE_SECONDS)
        mine = f"tags.{MARK} = '{tags[MARK]}'"
        made = ask(tracking_uri, partial(self.client.search_runs, [self.experiment_id], mine))
        return str(made[0].info.run_id) if made else self._create(tracking_uri, name, tags, tries - 1)

    def _experiment(self, name: str, place: str | None) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self.client.create_experiment(name, artifact_location=place))
            except MlflowException:  # another run made it in the meantime
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            raise InputError(
                f"MLflow's experiment {name!r} is deleted. Restore it (mlflow experiments restore --experiment-id "
                f"{found.experiment_id}), or name another: --params experiment=<name>"
            )
        if place is not None and found.artifact_location != place:
            raise InputError(
                f"The files of MLflow's experiment {name!r} stand in {found.artifact_location}, this project's in "
                f"{place}: was it moved or copied? Move it back, name another experiment (--params experiment=<name>), "
                "or take away mlflow.db to begin a new store."
            )
        return str(found.experiment_id)

    def _end_stale_runs(self) -> None:
        """Runs of this machine whose process was ended by SIGKILL could not say so themselves."""
        mine = f"attributes.status = 'RUNNING' and tags.host = '{_host()}'"
        for run in self.client.search_runs([self.experiment_id], mine):
            pid = int(run.data.tags.get("pid", os.getpid()))
            if pid != os.getpid() and not is_alive(pid):
                self.client.set_terminated(run.info.run_id, "KILLED")


def begin_run(
    tracking_uri: str, experiment: str, artifacts: Path, described: Description, run_id: str | None = None
) -> TrackedRun:
    """A run, or why the store does not take one.

    Raises:
        InputError: In MLflow's words and with its remedy.
    """
    from mlflow.exceptions import MlflowException

    try:
        return TrackedRun(tracking_uri, experiment, artifacts, described, run_id)
    except MlflowException as error:
        raise InputError(explain(tracking_uri, error)) from error


def send(client: Any, run_id: str, message: Message) -> None:
    """Tell MLflow one thing of a run."""
    from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag

    match message:
        case {"kind": "parameters", "parameters": values}:
            client.log_batch(run_id, params=[Param(key, value) for key, value in values.items()])
        case {"kind": "metrics", "metrics": values, "step": step, "time": when}:
            client.log_batch(run_id, metrics=[Metric(key, value, when, step) for key, value in values.items()])
        case {"kind": "tags", "tags": values}:
            client.log_batch(run_id, tags=[RunTag(key, value) for key, value in values.items()])
        case {"kind": "dataset", "dataset": values}:
            client.log_inputs(run_id, datasets=[DatasetInput(Dataset(**values))])
        case {"kind": "artifact", "path": path}:
            client.log_artifact(run_id, path)
        case {"kind": "model", "path": path}:
            log_model(client, run_id, path)
        case {"kind": "status", "status": status, "time": when}:
            client.set_terminated(run_id, status, when)
        case _:
            raise ValueError(f"{message.get('kind')} is nothing that can be told to MLflow")


def send_unsent(path: Path) -> str:
    """Send what a run could not send, and remove its file; says what was sent.

    Raises:
        InputError: The store cannot be reached still, or the file is none of a run's.
    """
    from mlflow import MlflowClient

    tracking_uri, run_id, messages = read_unsent(path)
    probe(tracking_uri)
    pending = PendingCalls(partial(send, MlflowClient(tracking_uri), run_id))
    for message in messages:
        pending.put(message)
    if (error := pending.flush()) is not None:
        write_unsent(path, tracking_uri, run_id, pending.waiting)
        raise InputError(f"{len(pending.waiting)} of {len(messages)} messages are still not sent ({error}).") from error
    path.unlink()
    return f"Sent: {len(messages)} messages of run {run_id} to {tracking_uri}"


def _now() -> int:
    """In milliseconds, as MLflow counts."""
    return int(time.time() * 1000)


def _host() -> str:
    """Name this machine, told from others of the same name by its network address."""
    return f"{socket.gethostname()}-{uuid.getnode():x}"
