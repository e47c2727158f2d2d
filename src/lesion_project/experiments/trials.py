"""A trial is one whole run under some overrides, with a data root of its own; a finished one is not run again."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from lesion_project.parameters import SETTINGS
from lesion_project.tracking import (
    TrackedRun,
    begin_run,
    describe_run,
    flatten,
    merge,
    probe,
    resolve_experiment,
    resolve_uri,
)
from lesion_segmentation.core.atomic_files import atomic_write
from lesion_segmentation.core.differences import find_differences
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.workers import share_work, written_to

logger = logging.getLogger(__name__)

FINISHED = "finished.json"
LOG = "log.txt"
"""Of a trial that ran on a worker: what it said."""
FORMAT_VERSION = 1
WITHOUT_EFFECT = ("data_root", "experiment", "training.resume", "training.device", "prediction.device")
"""Parameters that what a trial finds does not depend on."""
OF_OTHER_COMMANDS = ("sweep.", "inference.")


@dataclass(frozen=True)
class Trial:
    """One run to be made.

    Attributes:
        name: Among its siblings, such as fold_0.
        overrides: Parameters, nested as --params gives them; they go over the common ones.
        data_root: Where its files stand, relative to the project or absolute.
    """

    name: str
    overrides: Mapping[str, Any]
    data_root: Path


class Experiment:
    """Trials of one environment and common parameters.

    Args:
        project: The Kedro project.
        env: As `kedro run --env`.
        params: As `kedro run --params`, nested; they hold for every trial.
    """

    def __init__(self, project: Path, env: str | None, params: Mapping[str, Any]) -> None:
        self.project, self.env, self.params = project, env, params
        with KedroSession.create(project, env=env, runtime_params=dict(params)) as session:
            loader = session.load_context().config_loader
        self._mlflow = loader["mlflow"]
        self._groups = loader["parameters"]
        self._parameters = flatten(self._groups)

    def find_finished(self, trials: Sequence[Trial], asked_for: Sequence[str]) -> set[str]:
        """The names of the trials that need not be run.

        Raises:
            InputError: One was finished under other parameters, or was begun and is not asked for; all are named.
        """
        finished, problems = set(), []
        for trial in trials:
            mark = self.project / trial.data_root / FINISHED
            if mark.is_file():
                finished.add(trial.name)
                earlier = _read_mark(mark)
                changes = log_changes(earlier, self.settings(trial.overrides))
                problems += [f"{trial.name}: {change}" for change in changes]
            elif mark.parent.exists() and trial.name not in asked_for:
                problems.append(f"{trial.name} was begun and not finished, and is not asked for")
        if problems:
            raise InputError.from_problems(
                f"What stands in {trials[0].data_root.parent} does not belong together",
                problems,
                "Use the parameters of what is finished, ask for what is not, or remove these folders.",
            )
        return finished

    def group(self, name: str) -> dict[str, Any]:
        """The parameters of a group."""
        return dict(self._groups[name])

    def settings(self, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The parameters that the result of a trial with these overrides depends on, as JSON gives them back."""
        settings = {**self._parameters, **flatten(overrides or {})}
        kept = {name: value for name, value in settings.items() if _has_effect(name)}
        found: dict[str, Any] = json.loads(json.dumps(kept))
        return found

    def open_parent(self, command: str, common: Mapping[str, Any], folds: str | None = None) -> TrackedRun:
        """The run in MLflow whose children the trials are, with the parameters of all of them.

        Args:
            command: Kedro's.
            common: What of the parameters all trials have otherwise, nested.
            folds: As the command names them.
        """
        uri = resolve_uri(self._mlflow, self.project)
        probe(uri)
        parameters = merge({name: self._groups[name] for name in SETTINGS}, common)
        given = {"env": self.env, "runtime_params": self.params, "folds": folds}
        described = describe_run(command, given, parameters, self.project)
        experiment = resolve_experiment(self._mlflow, self.params)
        parent = begin_run(uri, experiment, self.project / "mlruns", described)
        parent.log_parameters(parameters)
        return parent

    def run_once(self, trial: Trial, parent_run: str, to_outputs: Sequence[str]) -> None:
        """As run, as far as these outputs need, where the trial is not finished yet.

        Raises:
            InputError: It was finished under other parameters.
        """
        if not self.find_finished([trial], [trial.name]):
            self.run(trial, parent_run, to_outputs)

    def run(self, trial: Trial, parent_run: str, to_outputs: Sequence[str] | None = None) -> None:
        """Run a trial as a child of the run of this id, and mark it as finished."""
        runtime = merge(self.params, trial.overrides)
        runtime |= {"data_root": str(trial.data_root), "parent_run": parent_run}
        with KedroSession.create(self.project, env=self.env, runtime_params=runtime) as session:
            session.run(to_outputs=to_outputs)
        with atomic_write(self.project / trial.data_root / FINISHED) as path:
            mark = {"format_version": FORMAT_VERSION, "parameters": self.settings(trial.overrides)}
            path.write_text(json.dumps(mark, indent=2))

    def run_pipeline(self, name: str, data_root: Path, tracked: TrackedRun) -> None:
        """Run one pipeline on what the trials left below `data_root`, as part of a run that is open."""
        runtime = {**self.params, "data_root": str(data_root), "tracked_run": tracked.run_id}
        with KedroSession.create(self.project, env=self.env, runtime_params=runtime) as session:
            session.run(pipeline_names=[name])


def run_trials(
    experiment: Experiment,
    trials: Sequence[Trial],
    parent_run: str,
    workers: int | None = None,
    scheduler: str | None = None,
) -> None:
    """Run whole trials, one after the other here or over workers, and tell in one line of each that it ended."""
    start = time.perf_counter()
    work = {trial.name: (experiment, trial, parent_run) for trial in trials}
    ended = share_work(Experiment.run, run_on_worker, work, workers, scheduler)
    for number, (name, _) in enumerate(ended, 1):
        minutes = (time.perf_counter() - start) / 60
        logger.info("%s is finished, %d of %d after %.1f minutes", name, number, len(trials), minutes)


def run_on_worker(experiment: Experiment, trial: Trial, parent_run: str) -> None:
    """One trial in a worker's process; where another worker has died of it, it goes on from the checkpoint."""
    bootstrap_project(experiment.project)
    goes_on = merge(trial.overrides, {"training": {"resume": True}})
    with written_to(experiment.project / trial.data_root / LOG):
        experiment.run(replace(trial, overrides=goes_on), parent_run)


def log_changes(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A sentence for each of the settings that is another now."""
    changes = find_differences(earlier, now, _defaults())
    return [f"{name}: {before} then, {after} now" for name, before, after in changes]


def _read_mark(path: Path) -> dict[str, Any]:
    """The parameters in a mark.

    Raises:
        InputError: It is damaged, of another version, or holds what is unknown.
    """
    try:
        mark = dict(json.loads(path.read_text()))
        version, parameters = mark.pop("format_version"), dict(mark.pop("parameters"))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is damaged, or of an older version ({error}). Remove that fold's folder.") from error
    if version != FORMAT_VERSION or mark:
        unknown = f"unknown {', '.join(mark)}" if mark else f"format {version}"
        raise InputError(f"{path}: a newer version of this project wrote it ({unknown}).")
    return {name: value for name, value in parameters.items() if _has_effect(name)}


def _has_effect(name: str) -> bool:
    return name not in WITHOUT_EFFECT and not name.startswith(OF_OTHER_COMMANDS)


def _defaults() -> dict[str, Any]:
    """What parameters were before they could be set: what conf/base and the settings say today."""
    today = flatten({name: group.model_construct().model_dump(mode="json") for name, group in SETTINGS.items()})
    return today | {"training.calibrate": False}
