"""What of a run goes to MLflow, and when."""

import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from lesion_project.datasets.file_paths import file_of
from lesion_project.parameters import SETTINGS
from lesion_project.tracking.description import describe_run, flatten
from lesion_project.tracking.provenance import record_origin
from lesion_project.tracking.registry import register_network
from lesion_project.tracking.run import TrackedRun, begin_run
from lesion_project.tracking.signals import SignalGuard
from lesion_project.tracking.store import PATIENCE_SECONDS, probe, resolve_experiment, resolve_uri
from lesion_segmentation.core.errors import InputError, first_line
from lesion_segmentation.data.splits import leaks, split_hash
from lesion_segmentation.data.summary import data_hash
from lesion_segmentation.evaluation.tables import SCORES, at_network_threshold
from lesion_segmentation.training.callbacks import Callbacks, Row, StopTraining, find_watcher

logger = logging.getLogger(__name__)


class TrackingHooks:
    def __init__(self) -> None:
        self._context: KedroContext | None = None
        self._catalog: DataCatalog | None = None
        self._run: TrackedRun | None = None
        self._record: dict[str, Any] = {}
        self._root = Path()
        self._seen: set[str] = set()
        self._made: set[str] = set()
        self._lock = threading.Lock()
        self._signals: SignalGuard | None = None
        self._users_run: str | None = None

    @property
    def page(self) -> str:
        """MLflow's page of the last run."""
        return self._run.page if self._run is not None else ""

    @property
    def store(self) -> str:
        """Where the last run is kept."""
        return self._run.tracking_uri if self._run is not None else ""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        self._context = context

    @hook_impl
    def after_catalog_created(self, catalog: DataCatalog) -> None:
        """What this run is, for its nodes: nothing yet. Parameters by name, so that kedro-viz keeps them in the back.

        The checkpoint stands in the catalog as what it is, a file; the training reads and writes it itself.
        """
        catalog["params:this_run.callbacks"] = MemoryDataset(Callbacks(), copy_mode="assign")
        catalog["params:this_run.record"] = MemoryDataset({})
        if "training_checkpoint" in catalog:
            catalog["params:this_run.checkpoint"] = catalog["training_checkpoint"]

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Reach the store, or stop before any work; then start the run."""
        assert self._context is not None
        self._catalog = catalog
        given = self._context.config_loader["parameters"]
        self._root = Path(run_params["project_path"]) / given["data_root"]
        parameters = {name: given[name] for name in SETTINGS if f"params:{name}" in pipeline.inputs()}
        if "paired_cases#table" in pipeline.all_outputs():
            parameters["comparison"] = given.get("comparison", {})
        config = self._context.config_loader["mlflow"]
        root = Path(run_params["project_path"])
        tracking_uri = resolve_uri(config, root)
        probe(tracking_uri, PATIENCE_SECONDS if "parent_run" in given else 0.0)
        self._seen, self._made, self._users_run = set(), set(), _active_run()
        if self._run is not None:  # a run in this process that was interrupted, in a notebook say
            self._release_signals()
            self._run.end("KILLED")
        described = describe_run("run", run_params, parameters, root)
        if "parent_run" in given:
            described.tags["mlflow.parentRunId"] = given["parent_run"]
        experiment = resolve_experiment(config, run_params.get("runtime_params") or {})
        self._run = begin_run(tracking_uri, experiment, root / "mlruns", described, given.get("tracked_run"))
        self._signals = SignalGuard(partial(self._run.end, "KILLED"))
        self._run.log_parameters(parameters)
        self._tell_nodes(catalog, pipeline, parameters, described.tags)

    def _tell_nodes(
        self, catalog: DataCatalog, pipeline: Pipeline, parameters: Mapping[str, Any], tags: Mapping[str, str]
    ) -> None:
        """Give the training its callbacks, and the page what this run is."""
        assert self._run is not None
        if "params:this_run.callbacks" in pipeline.inputs():
            self._run.set_tags({"device": _device_name(parameters["training"])})
            resumed = partial(_tag_resumed, self._run)
            log = partial(_tell_both, self._run.log_epoch, find_watcher())
            callbacks = Callbacks(log, resumed, self._run.run_id, tags["git_commit"])
            catalog.get("params:this_run.callbacks").save(callbacks)
        ours = {name: value for name, value in tags.items() if not name.startswith("mlflow.")}
        record = {"mlflow_run_id": self._run.run_id, **ours, **flatten(parameters)}
        catalog.get("params:this_run.record").save(record)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """A node that logs by MLflow's global functions makes a run of its own; say so, and end it."""
        stray = _active_run()
        if stray is not None and stray != self._users_run:
            import mlflow

            mlflow.end_run()
            logger.warning(
                "The node %s logged to MLflow by its global functions: that stands in a run of its own, %s. "
                "Give the values back as an output instead, with `metadata: {mlflow: metric}` in its catalog entry.",
                node.name,
                stray,
            )

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Note which cases, split and network the run used."""
        self._note(dataset_name, data)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Note them where the run made them, and beside each file whose it is; log the test scores."""
        self._made.add(dataset_name)
        self._note(dataset_name, data)
        if self._run is None:
            return
        if dataset_name == "table_ii":
            self._run.log_metrics(scores_of_test(data))
        elif dataset_name == "cross_validation#table":
            self._run.log_metrics({f"cross_validation_{row.metric}": row.score for row in data.itertuples()})
        if self._catalog is not None and _mark_of(self._catalog.get(dataset_name)) == "metric":
            self._run.log_metrics(data if isinstance(data, Mapping) else {dataset_name: data})
        path = None if self._catalog is None else file_of(self._catalog, dataset_name)
        if path is not None:
            record_origin(path, self._run.run_id)

    @hook_impl
    def after_pipeline_run(self, catalog: DataCatalog) -> None:
        """Upload what the run made and the catalog marks with `mlflow: artifact` or `mlflow: model`."""
        if self._run is None:
            return
        if not self._made:  # --only-missing-outputs found nothing missing
            self._run.discard()
            self._release_signals()
            return
        for name in sorted(self._made):
            self._upload(catalog.get(name))
        self._run.end("FINISHED")
        self._register(catalog)
        unsent = self._run.keep_unsent(self._root / "08_reporting")
        self._release_signals()
        if unsent is not None:
            raise InputError(
                f"MLflow did not take all of this run: {len(self._run.pending.waiting)} messages are in {unsent}. "
                f"All files are whole where the catalog has them. To send the rest later: kedro send-run {unsent}"
            )

    def _register(self, catalog: DataCatalog) -> None:
        """What `reporting.register` asks for, once MLflow has all of the run."""
        assert self._run is not None
        assert self._context is not None
        name = self._context.config_loader["parameters"]["reporting"].get("register")
        if not name or not {"network", "case_metrics", "table_ii"} <= self._made:
            return
        if self._run.pending.flush() is not None:
            logger.warning("MLflow has not all of this run yet, so its network is not registered as %s.", name)
            return
        scores, cases = scores_of_test(catalog.load("table_ii")), catalog.load("case_metrics")
        try:
            register_network(self._run.client, self._run.run_id, name, scores, cases)
        except Exception as error:  # MLflow's and its stores' are of many kinds; the run is whole already
            cause = first_line(error)
            logger.warning("The network is not registered as %s (%s).", name, cause)

    def _upload(self, dataset: Any) -> None:
        assert self._run is not None
        match _mark_of(dataset):
            case "artifact" if Path(str(dataset._filepath)).stat().st_size:
                self._run.log_artifact(Path(str(dataset._filepath)))
            case "model":
                self._run.log_model(Path(str(dataset._filepath)))

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """A node, or saving its output, raised an exception."""
        self._release_signals()
        if self._run is None:
            return
        self._run.end("KILLED" if isinstance(error, StopTraining) else "FAILED")
        try:
            unsent = self._run.keep_unsent(self._root / "08_reporting")
        except InputError as full:  # a disk, say: what the run failed of is told first
            logger.warning("What MLflow did not take could not be kept: %s", full)
        else:
            if unsent is not None:
                logger.warning("MLflow did not take all of this run. To send the rest later: kedro send-run %s", unsent)

    def _release_signals(self) -> None:
        if self._signals is not None:
            self._signals.release()
        self._signals = None

    def _note(self, name: str, data: Any) -> None:
        with self._lock:
            if self._run is None or name in self._seen:
                return
            self._seen.add(name)
        if name == "cases":
            self._run.log_dataset(data)
            self._run.set_tags({"data_hash": data_hash(data)})
        elif name == "split":
            protocol = str(data["protocol"].iloc[0])
            leak = str(leaks(protocol)).lower()
            self._run.set_tags({"split_hash": split_hash(data), "protocol": protocol, "leak": leak})
        elif name == "network":
            self._run.set_tags({"trained_by": data.metadata.mlflow_run_id})


def _mark_of(dataset: Any) -> str | None:
    """`artifact`, `model` or `metric`, where the catalog says `metadata: {mlflow: ...}`."""
    mark: str | None = (getattr(dataset, "metadata", None) or {}).get("mlflow")
    return mark


def _tell_both(log: Callable[[Row], None], watcher: Callable[[Row], None], row: Row) -> None:
    log(row)
    watcher(row)


def _tag_resumed(run: TrackedRun, earlier_run_id: str) -> None:
    run.set_tags({"resumed_from": earlier_run_id})


def scores_of_test(table_ii: pd.DataFrame) -> dict[str, float]:
    """test_dice, ..., and test_dice_pooled, ..., at the network's threshold.

    Nothing where the test cases were not scored.
    """
    test = at_network_threshold(table_ii[table_ii["subset"] == "test"])
    suffixes = {"per_image": "", "pooled": "_pooled"}
    return {
        f"test_{score}{suffixes[str(row.average)]}": float(getattr(row, score))
        for row in test.itertuples()
        for score in SCORES
    }


def _active_run() -> str | None:
    """The run of MLflow's global state in this thread: a user's, in whose block Kedro was called, or a node's."""
    import mlflow

    active = mlflow.active_run()
    return None if active is None else str(active.info.run_id)


def _device_name(training: Mapping[str, Any]) -> str:
    import torch

    from lesion_segmentation.core.hardware import choose_hardware

    device, precision = choose_hardware(training["device"], training["precision"])
    return f"{torch.cuda.get_device_name() if device == 'cuda' else device} {precision}"
