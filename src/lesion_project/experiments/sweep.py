"""Search for a recipe with Optuna. A trial is a run scored on validation cases, or two runs scored on folds 0 and 1."""

import logging
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any

import pandas as pd
from kedro.framework.startup import bootstrap_project

from lesion_project.experiments.space import RECIPE, require_recipe, require_same_settings, suggest
from lesion_project.experiments.trials import LOG, Experiment, Trial
from lesion_project.tracking.description import nest
from lesion_segmentation.core.atomic_files import atomic_write, expand_home
from lesion_segmentation.core.errors import InputError, RecipeError, first_line
from lesion_segmentation.core.extras import explain_missing_extras
from lesion_segmentation.core.storage import hide_passwords
from lesion_segmentation.core.workers import check_workers, redirect_output, share_work
from lesion_segmentation.training.callbacks import EpochRow, StopTraining, observe_epochs
from lesion_segmentation.training.search_space import FOLDS_FOR_CHOOSING, SweepSettings

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10
"""Interval of a trial's heartbeat. A trial without a heartbeat for six intervals is repeated by another worker."""
RETRIES = 3
"""Maximum number of repetitions of a trial whose worker died."""
SCORE = "validation_dice"
REASON = "reason"
"""Attribute of a failed trial, which cannot be trained with the sampled parameters: what was wrong."""
OUTPUTS = {"validation": ("network", "training_history"), "folds": ("case_metrics",)}
"""Outputs of a run that each objective needs."""


@dataclass(frozen=True)
class Sweep:
    """Description of a search, which is passed to each worker: `root` is its folder, `storage` the URL for Optuna."""

    experiment: Experiment
    settings: SweepSettings
    root: Path
    storage: str


def run_sweep(
    project: Path, env: str | None, params: Mapping[str, Any], workers: int | None = None, scheduler: str | None = None
) -> pd.DataFrame:
    """Run the trials that are not done yet, each as a child of one MLflow run, and return the table of `list_trials`.

    Trials are written below the data_root in `params`, which is data/sweep/<env> by default, in a folder named after
    the study. `workers` and `scheduler` distribute them, as `cross_validate` documents.

    Raises:
        InputError: Optuna or Dask is not installed, the storage does not answer, the space is invalid, or the study was
            started with other parameters.
    """
    _require_optuna()
    check_workers(workers, scheduler)
    bootstrap_project(project)
    experiment = Experiment(project, env, params)
    settings = SweepSettings(**experiment.group("sweep"))
    require_recipe(settings.space, {name: experiment.group(name) for name in RECIPE})
    root = project / expand_home(params.get("data_root", f"data/sweep/{env or 'base'}")) / settings.study
    root.mkdir(parents=True, exist_ok=True)
    sweep = Sweep(experiment, settings, root, settings.storage or f"sqlite:///{root.resolve() / 'optuna.db'}")
    study = _reach_study(sweep)
    require_same_settings(study, experiment.settings(), settings)
    with experiment.open_parent("sweep", {}) as parent:
        while (missing := settings.trials - _count_done(study)) > 0:
            first = len(study.trials)
            work = {f"sample {index}": (sweep, index, parent.run_id) for index in range(first, first + missing)}
            for _, number in share_work(run_one, run_one_on_worker, work, workers, scheduler):
                trial = study.trials[number]
                value = "stopped" if trial.value is None or trial.state.name == "PRUNED" else f"{trial.value:.4f}"
                value = f"failed ({trial.user_attrs[REASON]})" if REASON in trial.user_attrs else value
                logger.info("Trial %d: %s, %d of %d are done", number, value, _count_done(study), settings.trials)
    table = list_trials(study)
    table.to_csv(root / "trials.csv", index=False)
    logger.info("All trials: %s\nThis search in MLflow: %s", root / "trials.csv", hide_passwords(parent.page))
    if "complete" not in set(table["state"]):
        logger.warning("No trial is complete, so there is no recipe to choose. Change sweep.space and sweep.study.")
    return table


def run_one_on_worker(sweep: Sweep, index: int, parent_run: str) -> int:
    """Run one trial in a worker's process, and return its number."""
    bootstrap_project(sweep.experiment.project)
    _require_optuna()
    with redirect_output(sweep.root / f"worker_{index}_{LOG}"):
        return run_one(sweep, index, parent_run)


def run_one(sweep: Sweep, index: int, parent_run: str) -> int:
    """Sample one trial with Optuna, run it, and return its number."""
    numbers: list[int] = []

    def evaluate(sampled: Any) -> float:
        numbers.append(sampled.number)
        return _evaluate(sweep, parent_run, sampled)

    try:
        _open_study(sweep, index).optimize(evaluate, n_trials=1)
    except ValueError as error:
        if str(error) != "Cannot tell a FAIL trial.":  # another worker repeats it, since this process was suspended
            raise
    return numbers[0]


def _evaluate(sweep: Sweep, parent_run: str, sampled: Any) -> float:
    """Run a trial and return its objective."""
    from optuna import TrialPruned

    given = {name: suggest(sampled, name, domain) for name, domain in sweep.settings.space.items()}
    runs = _list_runs(sweep, sampled.number, given)
    _copy_checkpoints(sweep.root, sampled)
    values = []
    for trial in runs:
        finished = sweep.experiment.find_finished([trial], [trial.name])
        try:
            with observe_epochs(partial(_report, sampled, len(runs) == 1)):
                if not finished:
                    sweep.experiment.run(trial, parent_run, OUTPUTS[sweep.settings.objective])
            _require_own(sampled)
        except StopTraining as stop:
            raise TrialPruned(str(stop)) from stop
        except InputError as error:
            if not isinstance(error, RecipeError) and not any(name in str(error) for name in sweep.settings.space):
                raise  # every trial would have an error that names no searched parameter
            sampled.set_user_attr(REASON, shorten(str(error), 200, placeholder=" ..."))
            raise TrialPruned(str(error)) from error
        values.append(_read_value(sweep.settings.objective, trial))
    return sum(values) / len(values)


def _copy_checkpoints(root: Path, sampled: Any) -> None:
    """Let a trial resume in a folder of its own where earlier attempts stopped, whose workers may still write."""
    from optuna.storages import RetryHeartbeatStaleTrialCallback

    for number in RetryHeartbeatStaleTrialCallback.retry_history(sampled.study.trials[sampled.number]):
        folder = root / f"trial_{number:04}"
        for file in folder.rglob("training_checkpoint.safetensors"):
            with atomic_write(root / f"trial_{sampled.number:04}" / file.relative_to(folder)) as path:
                shutil.copyfile(file, path)


def _list_runs(sweep: Sweep, number: int, given: Mapping[str, Any]) -> list[Trial]:
    name, common = f"trial_{number:04}", {**given, "training.resume": True}
    if sweep.settings.objective == "validation":
        return [Trial(name, nest({**common, "reporting.score_test": False}), sweep.root / name)]
    common |= {"reporting.score_test": True, "split.protocol": "folds"}
    return [
        Trial(f"{name}_fold_{fold}", nest({**common, "split.fold": fold}), sweep.root / name / f"fold_{fold}")
        for fold in FOLDS_FOR_CHOOSING
    ]


def _read_value(objective: str, trial: Trial) -> float:
    reporting = trial.data_root / "08_reporting"
    if objective == "validation":
        history = pd.read_csv(reporting / "training_history.csv")
        if SCORE not in history:
            raise InputError(
                "sweep.objective is validation, but there are no validation cases. Increase split.validation_cases."
            )
        return float(history[SCORE].iloc[-1])
    cases = pd.read_csv(reporting / "case_metrics.csv")
    return float(cases.loc[cases["subset"] == "test", "dice"].mean())


def _require_own(sampled: Any) -> None:
    """Stop a trial that another worker repeats, because this process was suspended."""
    if sampled.study.trials[sampled.number].state.is_finished():
        raise StopTraining("another worker repeats this trial")


def _report(sampled: Any, is_scored: bool, row: EpochRow) -> None:
    """Report the score of an epoch to Optuna, and stop a trial that is pruned or that another worker repeats."""
    _require_own(sampled)
    if is_scored and SCORE in row:
        sampled.report(row[SCORE], int(row["epoch"]))
        if sampled.should_prune():
            raise StopTraining(f"below the median of the other trials in epoch {int(row['epoch'])}")


def _require_optuna() -> None:
    with explain_missing_extras():
        import optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # an error that ends the search is raised, too
    # Optuna has marked heartbeats and retries as experimental since 2021.
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)


def _reach_study(sweep: Sweep) -> Any:
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return _open_study(sweep, 0)
    except (ImportError, SQLAlchemyError, StorageInternalError) as error:
        raise InputError(
            f"sweep.storage cannot be used ({first_line(error)}). Expected a URL of SQLAlchemy, an installed driver "
            "and a database that answers, or null for a file beside the trials."
        ) from error


def _open_study(sweep: Sweep, index: int) -> Any:
    """Open or create the study. `index` gives the samplers of several workers different seeds."""
    import optuna
    from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback

    storage = RDBStorage(
        sweep.storage,
        heartbeat_interval=HEARTBEAT_SECONDS,
        grace_period=6 * HEARTBEAT_SECONDS,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
    )
    pruned = sweep.settings.pruning and sweep.settings.objective == "validation"
    return optuna.create_study(
        study_name=sweep.settings.study,
        storage=storage,
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=sweep.settings.seed + index, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4) if pruned else optuna.pruners.NopPruner(),
    )


def _count_done(study: Any) -> int:
    return sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in study.trials)


def list_trials(study: Any) -> pd.DataFrame:
    """Return a row per trial with number, state, value, parameters and reason of failure: complete ones, best first."""
    rows = [
        {"number": trial.number, "state": trial.state.name.lower().replace("fail", "interrupted"), "value": trial.value}
        | trial.params
        | {REASON: trial.user_attrs.get(REASON)}
        for trial in study.trials
    ]
    table = pd.DataFrame(rows).sort_values("value", ascending=False)
    table.loc[table[REASON].notna(), "state"] = "failed"
    # The value of a pruned trial is that of its last epoch, so pruned trials come last.
    return table.sort_values("state", key=lambda state: state.ne("complete"), kind="stable", ignore_index=True)
