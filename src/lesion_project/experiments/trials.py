"""Trials: complete runs with some parameters overridden, each in its own data root. Finished ones are not repeated."""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from lesion_project.parameters import SETTINGS, WITHOUT_EFFECT
from lesion_project.tracking.description import describe_run, flatten, merge
from lesion_project.tracking.run import TrackedRun
from lesion_project.tracking.signals import SignalGuard
from lesion_project.tracking.store import PATIENCE_AT_END, probe, resolve_experiment, resolve_uri
from lesion_segmentation.core.atomic_files import atomic_write
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.recorded_settings import find_differences, rename_keys
from lesion_segmentation.core.workers import redirect_output, share_work

logger = logging.getLogger(__name__)

FINISHED = "finished.json"
LOG = "log.txt"
"""Output of a trial that ran on a worker."""
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Trial:
    """A planned run, with nested parameters that take precedence over the common ones.

    The folder `data_root` of its files is relative to the project or absolute.
    """

    name: str
    overrides: Mapping[str, Any]
    data_root: Path


class Experiment:
    """Trials with the same environment and common nested parameters."""

    def __init__(self, project: Path, env: str | None, params: Mapping[str, Any]) -> None:
        self.project, self.env, self.params = project, env, params
        with KedroSession.create(project, env=env, runtime_params=dict(params)) as session:
            loader = session.load_context().config_loader
        self._mlflow = loader["mlflow"]
        self._groups = loader["parameters"]
        self._parameters = flatten(self._groups)

    def find_finished(self, trials: Sequence[Trial], requested: Sequence[str]) -> set[str]:
        """Return the names of the finished trials.

        Raises:
            InputError: Trials were finished with other parameters, or are unfinished and not requested.
        """
        finished, problems = set(), []
        for trial in trials:
            mark = self.project / trial.data_root / FINISHED
            if mark.is_file():
                finished.add(trial.name)
                changes = describe_changes(_read_mark(mark), self.settings(trial.overrides))
                problems += [f"{trial.name}: {change}" for change in changes]
            elif mark.parent.exists() and trial.name not in requested:
                problems.append(f"{trial.name} is unfinished and not requested")
        if problems:
            raise InputError.from_problems(
                f"The trials in {trials[0].data_root.parent} do not belong together",
                problems,
                "Use the parameters of the finished trials, request the unfinished ones, or remove these folders.",
            )
        return finished

    def group(self, name: str) -> dict[str, Any]:
        """Return the parameters under one top-level name, such as training."""
        return dict(self._groups[name])

    def settings(self, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the flat parameters on which the result of a trial with these overrides depends, converted by JSON."""
        settings = {**self._parameters, **flatten(overrides or {})}
        return json.loads(json.dumps({name: value for name, value in settings.items() if _has_effect(name)}))

    @contextmanager
    def open_parent(self, command: str, common: Mapping[str, Any], folds: str | None = None) -> Iterator[TrackedRun]:
        """Open the MLflow run that is the parent of all trials, and end it with the status of the `with` block.

        `command` is the Kedro command, such as sweep, and `common` has the parameters that differ from the
        configuration in all trials.
        """
        uri = resolve_uri(self._mlflow, self.project)
        probe(uri)
        parameters = merge({name: self._groups[name] for name in SETTINGS}, common)
        given = {"env": self.env, "runtime_params": self.params, "folds": folds}
        described = describe_run(command, given, parameters, self.project)
        experiment = resolve_experiment(self._mlflow, self.params)
        parent = TrackedRun(uri, experiment, self.project / "mlruns", described)
        kept = "Interrupted. Finished trials are kept. Run the same command again for the others."
        signals = SignalGuard(partial(parent.end, "KILLED"), lambda: kept)
        try:
            parent.log_parameters(parameters)
            yield parent
            parent.end("FINISHED")
        except BaseException:
            parent.end("FAILED")
            raise
        finally:
            if (lacking := parent.flush(PATIENCE_AT_END)) is not None:
                logger.warning("%s The trials have runs of their own.", lacking)
            signals.release()

    def run(self, trial: Trial, parent_run: str, to_outputs: Sequence[str] | None = None) -> None:
        """Run a trial up to these outputs as a child of the MLflow run `parent_run`, and mark it as finished."""
        runtime = merge(self.params, trial.overrides)
        runtime |= {"data_root": str(trial.data_root), "parent_run": parent_run}
        with KedroSession.create(self.project, env=self.env, runtime_params=runtime) as session:
            session.run(to_outputs=to_outputs)
        with atomic_write(self.project / trial.data_root / FINISHED) as path:
            mark = {"format_version": FORMAT_VERSION, "parameters": self.settings(trial.overrides)}
            path.write_text(json.dumps(mark, indent=2))

    def run_pipeline(self, name: str, data_root: Path, tracked: TrackedRun) -> None:
        """Run one pipeline on the files of the trials below `data_root`, as part of the open run `tracked`."""
        runtime = {**self.params, "data_root": str(data_root), "tracked_run": tracked.run_id}
        with KedroSession.create(self.project, env=self.env, runtime_params=runtime) as session:
            session.run(pipeline_names=[name])


def run_trials(
    experiment: Experiment, trials: Sequence[Trial], parent_run: str, workers: int | None, scheduler: str | None
) -> None:
    """Run trials one after the other or on workers, and log a line when one has finished."""
    start = time.perf_counter()
    work = {trial.name: (experiment, trial, parent_run) for trial in trials}
    results = share_work(Experiment.run, run_on_worker, work, workers, scheduler)
    for number, (name, _) in enumerate(results, 1):
        minutes = (time.perf_counter() - start) / 60
        logger.info("%s is finished, %d of %d after %.1f minutes", name, number, len(trials), minutes)


def run_on_worker(experiment: Experiment, trial: Trial, parent_run: str) -> None:
    """Run a trial in a worker's process. It resumes from the checkpoint if another worker died during it."""
    bootstrap_project(experiment.project)
    resumed = merge(trial.overrides, {"training": {"resume": True}})
    with redirect_output(experiment.project / trial.data_root / LOG):
        experiment.run(replace(trial, overrides=resumed), parent_run)


def describe_changes(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Describe each difference between the settings of an earlier command and those of this one.

    Parameters that an earlier version did not have count as their defaults of today.
    """
    defaults = flatten({name: group.model_construct().model_dump(mode="json") for name, group in SETTINGS.items()})
    defaults |= {"prediction.test_time_augmentation": "four", "prediction.keep_largest_component": True}
    changes = find_differences(rename_keys(earlier), now, defaults | {"training.calibrate": False})
    return [f"{name} was {before}, and is {after} now" for name, before, after in changes]


def _read_mark(path: Path) -> dict[str, Any]:
    """Return the parameters of a finished trial."""
    try:
        mark = dict(json.loads(path.read_text()))
        version, parameters = mark.pop("format_version"), dict(mark.pop("parameters"))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is damaged, or of an older version ({error}). Remove its folder.") from error
    if version != FORMAT_VERSION or mark:
        reason = f"unknown {', '.join(mark)}" if mark else f"format {version}"
        raise InputError(f"{path} is of a newer version of this project ({reason}). Update the project.")
    return {name: value for name, value in parameters.items() if _has_effect(name)}


def _has_effect(name: str) -> bool:
    return name not in WITHOUT_EFFECT and not name.startswith("sweep.")
