"""MLflow: exactly one run per `kedro run`, through a client with an explicit run id.

The fluent API is thread-local and ends every run as FINISHED, so it is not used. mlflow is imported when a run starts.
"""

import atexit
import json
import os
import socket
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from lesion_segmentation.data.passport import data_hash, name_source
from lesion_segmentation.errors import InputError
from lesion_segmentation.files import is_alive


class TrackedRun:
    """One run in MLflow, from RUNNING to exactly one of FINISHED, FAILED and KILLED."""

    def __init__(
        self,
        tracking_uri: str,
        experiment: str,
        artifacts: Path,
        name: str,
        tags: Mapping[str, str],
        run_id: str | None = None,
    ) -> None:
        import mlflow
        from mlflow import MlflowClient

        mlflow.set_tracking_uri(tracking_uri)  # for what has no client of its own: models, artifacts of other runs
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        self.client = MlflowClient(tracking_uri)
        self.experiment_id = self._experiment(experiment, artifacts if tracking_uri.startswith("sqlite:") else None)
        self._end_stale_runs()
        own = {"host": _host(), "pid": str(os.getpid()), "mlflow.user": os.environ.get("USER", "")}
        if run_id is None:  # else a run goes on that was begun earlier
            created = self.client.create_run(self.experiment_id, run_name=name, tags={**own, **tags})
            run_id = str(created.info.run_id)
        self.run_id = run_id
        self.ended = False
        atexit.register(self.end, "KILLED")

    def end(self, status: str) -> None:
        """Set the status, once: what was said first stands."""
        if not self.ended:
            self.ended = True
            atexit.unregister(self.end)
            self.client.set_terminated(self.run_id, status)

    def discard(self) -> None:
        """Take the run back: nothing was done in it."""
        self.end("FINISHED")
        self.client.delete_run(self.run_id)

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Nested parameters as `a.b.c`."""
        from mlflow.entities import Param

        flat = flatten(parameters)
        self.client.log_batch(self.run_id, params=[Param(key, str(value)) for key, value in flat.items()])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """All at once, on one step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(
            self.run_id, metrics=[Metric(key, float(value), now, step) for key, value in metrics.items()]
        )

    def log_epoch(self, row: Mapping[str, float]) -> None:
        """A row of the training history, on the epoch as its step."""
        self.log_metrics({key: value for key, value in row.items() if key != "epoch"}, step=int(row["epoch"]))

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        for key, value in tags.items():
            self.client.set_tag(self.run_id, key, str(value))

    def log_dataset(self, cases: pd.DataFrame) -> None:
        """The cases as MLflow's dataset input, with the digest of their pixels."""
        from mlflow.data.pandas_dataset import from_pandas
        from mlflow.entities import DatasetInput

        with _quiet():
            digest = data_hash(cases)
            dataset = from_pandas(cases, source="03_primary/cases.csv", name=name_source(cases), digest=digest)
            entity = DatasetInput(dataset._to_mlflow_entity())
        self.client.log_inputs(self.run_id, datasets=[entity])

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        self.client.log_artifact(self.run_id, str(path), folder)

    def log_model(self, network: Any) -> None:
        """The network as a pyfunc model that gives masks for images, with this package's code."""
        import mlflow
        import numpy as np
        from mlflow.models import Model, ModelSignature
        from mlflow.types import Schema, TensorSpec

        from lesion_segmentation.model import save_network

        package = Path(__file__).parents[1]
        signature = ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))]),
            outputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1))]),
        )
        # Made by its experiment's id: MLflow would put it into the experiment of its global state, "Default" here.
        model = self.client.create_logged_model(self.experiment_id, name="network", source_run_id=self.run_id)
        with tempfile.TemporaryDirectory() as folder, _quiet():
            weights = Path(folder) / "network.safetensors"
            save_network(network, weights)
            Model.log(
                artifact_path=None,
                model_id=model.model_id,
                flavor=mlflow.pyfunc,
                run_id=self.run_id,
                python_model=str(package / "tracking" / "model.py"),
                artifacts={"network": str(weights)},
                code_paths=[str(package)],
                signature=signature,
                pip_requirements=["mlflow", "numpy", "pillow", "pydantic", "safetensors", "torch"],
            )

    def _experiment(self, name: str, artifacts: Path | None) -> str:
        from mlflow.exceptions import MlflowException

        place = artifacts.as_uri() if artifacts else None
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Without MLflow's hints to its users' users."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} to {"a.b": 1}; lists become JSON."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list | tuple) else value
    return flat


def _host() -> str:
    """Name this machine, told from others of the same name by its network address."""
    return f"{socket.gethostname()}-{uuid.getnode():x}"
