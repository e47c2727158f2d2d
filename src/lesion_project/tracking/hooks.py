"""Kedro hooks that log a run to MLflow."""

import logging
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from lesion_project.datasets.atomic import file_of
from lesion_project.parameters import SETTINGS
from lesion_project.tracking.description import (
    describe_dataset,
    describe_device,
    describe_resuming,
    describe_run,
    flatten,
    select_test_scores,
)
from lesion_project.tracking.provenance import find_other_parameters, read_provenance, record_provenance
from lesion_project.tracking.registry import register_network
from lesion_project.tracking.run import TrackedRun
from lesion_project.tracking.signals import SignalGuard, explain_interruption
from lesion_project.tracking.store import PATIENCE_AT_END, PATIENCE_SECONDS, probe, resolve_experiment, resolve_uri
from lesion_segmentation.core.errors import InputError, first_line
from lesion_segmentation.training.callbacks import Callbacks, EpochRow, StopTraining, epoch_observer

logger = logging.getLogger(__name__)


class TrackingHooks:
    """Starts an MLflow run with each Kedro run, logs what the catalog marks, and sets the final status.

    Attributes:
        run: The run that started last. Kedro calls no other hook of a run before `before_pipeline_run`, which sets it.
        saved: The names of the datasets that this run has saved.
    """

    run: TrackedRun
    saved: set[str]

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._signals: SignalGuard | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        self._config: Mapping[str, Any] = context.config_loader

    @hook_impl
    def after_catalog_created(self, catalog: DataCatalog) -> None:
        """Add datasets with which nodes access their run. They are parameters by name, so kedro-viz hides them."""
        catalog["params:this_run.training"] = MemoryDataset({}, copy_mode="assign")
        catalog["params:this_run.record"] = MemoryDataset({})

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Check that the store answers, before any work is done, and start the MLflow run."""
        self._catalog = catalog
        self.saved = set()
        self._seen, self._changes = set[str](), set[str]()
        self._outer_run = _active_run()
        given, config = self._config["parameters"], self._config["mlflow"]
        project = Path(run_params["project_path"])
        self._parameters: Mapping[str, Any] = given
        self._root = project / given["data_root"]
        parameters = {name: given[name] for name in SETTINGS if f"params:{name}" in pipeline.inputs()}
        if "paired_cases#table" in pipeline.all_outputs():
            parameters["comparison"] = given.get("comparison", {})
        is_trial = "parent_run" in given
        self._patience = PATIENCE_SECONDS if is_trial else PATIENCE_AT_END
        tracking_uri = resolve_uri(config, project)
        probe(tracking_uri, PATIENCE_SECONDS if is_trial else 0.0)
        if hasattr(self, "run"):  # an earlier run of this process may have been interrupted, for example in a notebook
            self._release_signals()
            self.run.end("KILLED")
        described = describe_run("run", run_params, parameters, project)
        if is_trial:
            described.tags["mlflow.parentRunId"] = given["parent_run"]
        experiment = resolve_experiment(config, run_params.get("runtime_params") or {})
        self.run = TrackedRun(tracking_uri, experiment, project / "mlruns", described, given.get("tracked_run"))
        load_training = catalog.get("params:this_run.training").load
        explain = partial(explain_interruption, load_training, describe_resuming(run_params))
        self._signals = SignalGuard(partial(self.run.end, "KILLED"), explain)
        self.run.log_parameters(parameters)
        self._inform_nodes(catalog, pipeline, parameters, described.tags)

    def _inform_nodes(
        self, catalog: DataCatalog, pipeline: Pipeline, parameters: Mapping[str, Any], tags: Mapping[str, str]
    ) -> None:
        """Pass callbacks to the training node, and a description of this run to the nodes of the report."""
        run, observe = self.run, epoch_observer.get()

        def on_epoch(row: EpochRow) -> None:
            run.log_epoch(row)
            observe(row)

        def on_resume(earlier_run_id: str) -> None:
            run.set_tags({"resumed_from": earlier_run_id})

        if "params:this_run.training" in pipeline.inputs():
            run.set_tags({"device": describe_device(parameters["training"])})
            callbacks = Callbacks(on_epoch, on_resume, run.run_id, tags["git_commit"])
            checkpoint_file = catalog.load("training_checkpoint") if "training_checkpoint" in catalog else None
            catalog.get("params:this_run.training").save({"callbacks": callbacks, "checkpoint_file": checkpoint_file})
        own_tags = {name: value for name, value in tags.items() if not name.startswith("mlflow.")}
        record = {"mlflow_run_id": run.run_id, **own_tags, **flatten(parameters)}
        catalog.get("params:this_run.record").save(record)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Warn about a node that started a second run through MLflow's global functions, and end that run."""
        stray = _active_run()
        if stray is not None and stray != self._outer_run:
            import mlflow

            mlflow.end_run()
            logger.warning(
                "The node %s logged through MLflow's global functions, which started a separate run, %s. "
                "Return the values as an output instead, with `metadata: {mlflow: metric}` in its catalog entry.",
                node.name,
                stray,
            )

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Log which cases, split and network the run used, and warn about files made with other parameters."""
        self._log_use_of(dataset_name, data)
        path = file_of(self._catalog, dataset_name)
        if path is None:
            return
        maker = read_provenance(path.parent).get(path.name)
        if maker is None or maker == self.run.run_id:
            return
        found = find_other_parameters(self.run.client, maker, dataset_name, self._parameters)
        if changes := [change for change in found if change not in self._changes]:
            self._changes.update(changes)
            logger.warning(
                "The run %s made %s with other parameters: %s. Run the steps that make it again, or restore them.",
                maker, path.name, "; ".join(changes),
            )  # fmt: skip

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Log cases, split, network and scores that the run produced, and record the provenance of each file."""
        self.saved.add(dataset_name)
        self._log_use_of(dataset_name, data)
        if dataset_name == "table_ii":
            self.run.log_metrics(select_test_scores(data))
        elif dataset_name == "cross_validation#table":
            self.run.log_metrics({f"cross_validation_{row.metric}": row.score for row in data.itertuples()})
        if _mark_of(self._catalog.get(dataset_name)) == "metric":
            self.run.log_metrics(data if isinstance(data, Mapping) else {dataset_name: data})
        if path := file_of(self._catalog, dataset_name):
            record_provenance(path, self.run.run_id)

    @hook_impl
    def after_pipeline_run(self, catalog: DataCatalog) -> None:
        """Upload what the catalog marks, and raise an InputError if MLflow did not accept everything."""
        if not self.saved:  # with --only-missing-outputs, no output was missing
            self.run.discard()
            self._release_signals()
            return
        for name in sorted(self.saved):
            self._upload(catalog.get(name))
        self.run.end("FINISHED")
        lacking = self.run.flush(self._patience)
        if lacking is None:
            self._register(catalog)
        self._release_signals()
        if lacking is not None:
            raise InputError(f"{lacking} All files of the run are complete under {self._root}.")

    def _register(self, catalog: DataCatalog) -> None:
        """Register the network under the name in `reporting.register`, if there is one."""
        name = self._parameters["reporting"].get("register")
        if not name or not {"network", "case_metrics", "table_ii"} <= self.saved:
            return
        scores, cases = select_test_scores(catalog.load("table_ii")), catalog.load("case_metrics")
        try:
            register_network(self.run.client, self.run.run_id, name, scores, cases)
        except Exception as error:  # MLflow and its stores raise errors of many kinds, and the run itself is complete
            logger.warning("The network is not registered as %s (%s).", name, first_line(error))

    def _upload(self, dataset: Any) -> None:
        match _mark_of(dataset):
            case "artifact" if Path(str(dataset._filepath)).stat().st_size:
                self.run.log_artifact(Path(str(dataset._filepath)))
            case "model":
                self.run.log_model(Path(str(dataset._filepath)))

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Set the status after an exception in a node or in saving its output."""
        self._release_signals()
        self.run.end("KILLED" if isinstance(error, StopTraining) else "FAILED")
        if (lacking := self.run.flush(self._patience)) is not None:
            logger.warning("%s The files that the run had written are under %s.", lacking, self._root)

    def _release_signals(self) -> None:
        if self._signals is not None:
            self._signals.release()
        self._signals = None

    def _log_use_of(self, name: str, data: Any) -> None:
        with self._lock:
            if name in self._seen:
                return
            self._seen.add(name)
        if name == "cases":
            self.run.log_dataset(data)
        if tags := describe_dataset(name, data):
            self.run.set_tags(tags)


def _mark_of(dataset: Any) -> str | None:
    """Return `artifact`, `model` or `metric` if the catalog entry has `metadata: {mlflow: ...}`, else None."""
    return (getattr(dataset, "metadata", None) or {}).get("mlflow")


def _active_run() -> str | None:
    """Return the active run of MLflow's global state, which the caller of Kedro or a node may have started."""
    import mlflow

    active = mlflow.active_run()
    return None if active is None else str(active.info.run_id)
