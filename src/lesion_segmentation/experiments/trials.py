"""A trial is one whole run under some overrides, with a data root of its own; a finished one is not run again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.framework.session import KedroSession

from lesion_segmentation.errors import InputError
from lesion_segmentation.files import replacing
from lesion_segmentation.parameters import SETTINGS
from lesion_segmentation.records import find_differences
from lesion_segmentation.tracking import (
    TrackedRun,
    begin_run,
    describe_run,
    flatten,
    probe,
    resolve_experiment,
    resolve_uri,
)

FINISHED = "finished.json"
FORMAT_VERSION = 1
WITHOUT_EFFECT = ("data_root", "experiment", "training.resume", "training.device", "prediction.device")
"""Parameters that what a trial finds does not depend on."""


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
                problems += [
                    f"{trial.name}: {name}: {then} then, {now} now"
                    for name, then, now in find_differences(earlier, self._settings_of(trial), _defaults())
                ]
            elif mark.parent.exists() and trial.name not in asked_for:
                problems.append(f"{trial.name} was begun and not finished, and is not asked for")
        if problems:
            raise InputError.from_problems(
                f"What stands in {trials[0].data_root.parent} does not belong together",
                problems,
                "Use the parameters of what is finished, ask for what is not, or remove these folders.",
            )
        return finished

    def open_parent(self, folds: str) -> TrackedRun:
        """The run in MLflow whose children the folds are, with the parameters of all of them."""
        uri = resolve_uri(self._mlflow, self.project)
        probe(uri)
        of_folds = {"split": {"protocol": "folds", "fold": folds}}
        common = _merge({name: self._groups[name] for name in SETTINGS}, of_folds)
        given = {"env": self.env, "runtime_params": self.params, "folds": folds}
        described = describe_run("cross-validate", given, common, self.project)
        experiment = resolve_experiment(self._mlflow, self.params)
        parent = begin_run(uri, experiment, self.project / "mlruns", described)
        parent.log_parameters(common)
        return parent

    def run(self, trial: Trial, parent: TrackedRun) -> None:
        """Run a trial as a child of the parent, and mark it as finished."""
        runtime = _merge(self.params, trial.overrides)
        runtime |= {"data_root": str(trial.data_root), "parent_run": parent.run_id}
        with KedroSession.create(self.project, env=self.env, runtime_params=runtime) as session:
            session.run()
        with replacing(self.project / trial.data_root / FINISHED) as path:
            mark = {"format_version": FORMAT_VERSION, "parameters": self._settings_of(trial)}
            path.write_text(json.dumps(mark, indent=2))

    def run_pipeline(self, name: str, data_root: Path, tracked: TrackedRun) -> None:
        """Run one pipeline on what the trials left below `data_root`, as part of a run that is open."""
        runtime = {**self.params, "data_root": str(data_root), "tracked_run": tracked.run_id}
        with KedroSession.create(self.project, env=self.env, runtime_params=runtime) as session:
            session.run(pipeline_names=[name])

    def _settings_of(self, trial: Trial) -> dict[str, Any]:
        """The parameters that the trial's result depends on, as JSON gives them back."""
        settings = {**self._parameters, **flatten(trial.overrides)}
        kept = {name: value for name, value in settings.items() if name not in WITHOUT_EFFECT}
        found: dict[str, Any] = json.loads(json.dumps(kept))
        return found


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
    return {name: value for name, value in parameters.items() if name not in WITHOUT_EFFECT}


def _defaults() -> dict[str, Any]:
    """What parameters were before they could be set: what conf/base and the settings say today."""
    return flatten({name: group.model_construct().model_dump(mode="json") for name, group in SETTINGS.items()})


def _merge(common: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(common)
    for name, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merge(merged[name], value) if both else value
    return merged
