"""MLflow: exactly one run per `kedro run`, through a client with an explicit run id.

The fluent API is thread-local and ends every run as FINISHED, so it is not used. mlflow is imported when a run starts.
"""

import atexit
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from lesion_segmentation.data.passport import data_hash
from lesion_segmentation.data.splits import split_hash
from lesion_segmentation.errors import InputError
from lesion_segmentation.training.listener import Listener

logger = logging.getLogger(__name__)

SCORES = ("accuracy", "precision", "recall", "iou", "dice")


class TrackedRun:
    """One run in MLflow, from RUNNING to exactly one of FINISHED, FAILED and KILLED."""

    def __init__(self, tracking_uri: str, experiment: str, artifacts: Path, name: str, tags: Mapping[str, str]) -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient(tracking_uri)
        self.experiment_id = self._experiment(experiment, artifacts if tracking_uri.startswith("sqlite:") else None)
        self._end_stale_runs()
        own = {"host": socket.gethostname(), "pid": str(os.getpid()), "mlflow.user": os.environ.get("USER", "")}
        self.run_id: str = self.client.create_run(self.experiment_id, run_name=name, tags={**own, **tags}).info.run_id
        self.ended = False
        atexit.register(self.end, "KILLED")

    def end(self, status: str) -> None:
        """Set the status, once: what was said first stands."""
        if not self.ended:
            self.ended = True
            atexit.unregister(self.end)
            self.client.set_terminated(self.run_id, status)

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
        """Set tags."""
        for key, value in tags.items():
            self.client.set_tag(self.run_id, key, str(value))

    def log_dataset(self, cases: pd.DataFrame) -> None:
        """The cases as MLflow's dataset input, with the digest of their pixels."""
        from mlflow.data.pandas_dataset import from_pandas
        from mlflow.entities import DatasetInput

        name = " and ".join(sorted(cases["source"].unique()))
        dataset = from_pandas(cases, source="data/03_primary/cases.csv", name=name, digest=data_hash(cases))
        self.client.log_inputs(self.run_id, datasets=[DatasetInput(dataset._to_mlflow_entity())])

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Upload one file."""
        self.client.log_artifact(self.run_id, str(path), folder)

    def log_model(self, network: Any) -> None:
        """The network as a pyfunc model that gives masks for images, with this package's code."""
        import mlflow
        import numpy as np
        from mlflow.models import Model, ModelSignature
        from mlflow.types import Schema, TensorSpec

        from lesion_segmentation.model import save_network

        mlflow.set_tracking_uri(self.client.tracking_uri)
        package = Path(__file__).parent
        signature = ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))]),
            outputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1))]),
        )
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / "network.safetensors"
            save_network(network, weights)
            Model.log(
                artifact_path=None,
                name="network",
                flavor=mlflow.pyfunc,
                run_id=self.run_id,
                python_model=str(package / "mlflow_model.py"),
                artifacts={"network": str(weights)},
                code_paths=[str(package)],
                signature=signature,
                pip_requirements=["mlflow", "numpy", "pydantic", "safetensors", "torch"],
            )

    def _experiment(self, name: str, artifacts: Path | None) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        return str(self.client.create_experiment(name, artifact_location=artifacts.as_uri() if artifacts else None))

    def _end_stale_runs(self) -> None:
        """Runs of this machine whose process was ended by SIGKILL could not say so themselves."""
        mine = f"attributes.status = 'RUNNING' and tags.host = '{socket.gethostname()}'"
        for run in self.client.search_runs([self.experiment_id], mine):
            pid = int(run.data.tags.get("pid", os.getpid()))
            if pid != os.getpid() and not _is_alive(pid):
                self.client.set_terminated(run.info.run_id, "KILLED")


class TrackingHooks:
    """What of a run goes to MLflow, and when."""

    def __init__(self) -> None:
        self._context: KedroContext | None = None
        self._run: TrackedRun | None = None
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Remember where the configuration is."""
        self._context = context

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Reach the store, or stop before any work; then start the run."""
        assert self._context is not None
        parameters = self._context.config_loader["parameters"]
        config = self._context.config_loader["mlflow"]
        root = Path(run_params["project_path"])
        tracking_uri = os.environ.get("MLFLOW_TRACKING_URI") or _absolute(config["tracking_uri"], root)
        _probe(tracking_uri)
        self._seen = set()
        name, tags = _describe_run(run_params, parameters, root)
        self._run = TrackedRun(tracking_uri, config["experiment"], root / "mlruns", name, tags)
        if threading.current_thread() is threading.main_thread():
            # SystemExit runs what atexit holds, so the run ends as KILLED.
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        self._run.log_parameters(parameters)

    @hook_impl
    def before_node_run(self, inputs: dict[str, Any]) -> dict[str, Any] | None:
        """Give the training its listener."""
        if "training_listener" not in inputs or self._run is None:
            return None
        self._run.set_tags({"device": _device_name(inputs["params:training"])})
        return {"training_listener": Listener(self._run.log_epoch, self._run.run_id)}

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Note which cases, split and network the run used."""
        self._note(dataset_name, data)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Note them where the run made them; log the test scores."""
        self._note(dataset_name, data)
        if dataset_name == "table_ii" and self._run is not None:
            self._run.log_metrics(scores_of_test(data))

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Upload what the catalog marks with `mlflow: artifact` or `mlflow: model`; then the run is FINISHED."""
        if self._run is None:
            return
        for name in sorted(pipeline.all_outputs()):
            dataset = catalog.get(name)
            kind = (getattr(dataset, "metadata", None) or {}).get("mlflow")
            if kind == "artifact" and catalog.exists(name):
                self._run.log_artifact(Path(str(dataset._filepath)))
            elif kind == "model" and catalog.exists(name):
                self._run.log_model(dataset.load())
        self._run.end("FINISHED")

    @hook_impl
    def on_pipeline_error(self) -> None:
        """A node, or saving its output, raised an exception."""
        if self._run is not None:
            self._run.end("FAILED")

    def _note(self, name: str, data: Any) -> None:
        with self._lock:
            if self._run is None or name in self._seen:
                return
            self._seen.add(name)
        if name == "cases":
            self._run.log_dataset(data)
            self._run.set_tags({"data_hash": data_hash(data)})
        elif name == "split":
            self._run.set_tags({"split_hash": split_hash(data)})
        elif name == "network":
            self._run.set_tags({"trained_by": data.metadata.mlflow_run_id})


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} to {"a.b": 1}; lists become JSON."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list | tuple) else value
    return flat


def scores_of_test(table_ii: pd.DataFrame) -> dict[str, float]:
    """test_dice, ..., and test_dice_pooled, ...; nothing where the test cases were not scored."""
    test = table_ii[table_ii["subset"] == "test"]
    suffixes = {"per_image": "", "pooled": "_pooled"}
    return {
        f"test_{score}{suffixes[str(row.average)]}": float(getattr(row, score))
        for row in test.itertuples()
        for score in SCORES
    }


def _describe_run(
    run_params: Mapping[str, Any], parameters: Mapping[str, Any], root: Path
) -> tuple[str, dict[str, str]]:
    environment = run_params["env"] or "local"
    pipelines = ",".join(run_params["pipeline_names"] or ["all"])
    protocol, seed = parameters["split"]["protocol"], parameters["training"]["seed"]
    tags = {
        "environment": environment,
        "pipelines": pipelines,
        "protocol": protocol,
        "seed": str(seed),
        "git_commit": _git(root, "rev-parse", "HEAD"),
        "git_dirty": str(bool(_git(root, "status", "--porcelain"))).lower(),
    }
    return f"{environment} {pipelines} {protocol} seed {seed} {datetime.now():%m-%d %H:%M}", tags


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def _device_name(settings: Any) -> str:
    import torch

    from lesion_segmentation.training.hardware import choose_hardware

    device, precision = choose_hardware(settings.device, settings.precision)
    return f"{torch.cuda.get_device_name() if device == 'cuda' else device} {precision}"


def _absolute(tracking_uri: str, root: Path) -> str:
    """SQLite files of the configuration stand in the project, wherever the command was called."""
    prefix = "sqlite:///"
    return f"{prefix}{root / tracking_uri.removeprefix(prefix)}" if tracking_uri.startswith(prefix) else tracking_uri


def _probe(tracking_uri: str) -> None:
    """Ask the store for one experiment, without the minutes of retries that MLflow makes by default."""
    from mlflow import MlflowClient

    quick = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    before = {key: os.environ.get(key) for key in quick}
    os.environ.update(quick)
    try:
        MlflowClient(tracking_uri).search_experiments(max_results=1)
    except Exception as error:  # whatever the store is, the user needs to hear that it is not there
        raise InputError(
            f"MLflow's store {tracking_uri} cannot be reached ({type(error).__name__}). Start that server, or unset "
            "MLFLOW_TRACKING_URI (or mend conf/<environment>/mlflow.yml) to use the project's own store."
        ) from error
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
