"""A search for a recipe: Optuna draws, every trial is one or two whole runs, and no test case is looked at."""

import logging
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.framework.startup import bootstrap_project

from lesion_project.experiments.space import RECIPE, describe_space, draw, require_recipe
from lesion_project.experiments.trials import LOG, Experiment, Trial, log_changes
from lesion_project.tracking import nest
from lesion_project.tracking.signals import SignalGuard
from lesion_segmentation.core.atomic_files import expand_home
from lesion_segmentation.core.errors import InputError, first_line
from lesion_segmentation.core.extras import explain_missing_extras
from lesion_segmentation.core.workers import check_workers, share_work, written_to
from lesion_segmentation.training.callbacks import Row, StopTraining, watched_by
from lesion_segmentation.training.search_space import FOLDS_FOR_CHOOSING, SweepSettings

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10
"""How often a trial says that it lives; one that was silent for six times as long is drawn anew."""
RETRIES = 3
SCORE = "validation_dice"
BEGUN_WITH = "begun_with"
"""Of a study: what its trials have in common, without which their values could not be compared."""
OUTPUTS = {"validation": ("network", "training_history"), "folds": ("case_metrics",)}
"""What of a run each objective needs."""


@dataclass(frozen=True)
class Sweep:
    """What every trial needs to know, wherever it runs."""

    experiment: Experiment
    settings: SweepSettings
    root: Path
    storage: str


def run_sweep(
    project: Path,
    env: str | None,
    params: Mapping[str, Any],
    workers: int | None = None,
    scheduler: str | None = None,
) -> pd.DataFrame:
    """Run the trials that are wanted and not done yet, each a child of one parent run in MLflow.

    Args:
        project: The Kedro project.
        env: As `kedro run --env`.
        params: As `kedro run --params`, nested; the trials stand below its data_root, by default data/sweep/<env>, in a
            folder of their study.
        workers: How many processes of this machine share the trials; None runs them one after the other.
        scheduler: The address of a Dask cluster that shares them instead, over one file system.

    Returns:
        Every trial: number, state, value and what was drawn, the best first.

    Raises:
        InputError: Optuna or Dask is not there, the storage does not answer, the space is no recipe's, or the study was
            begun with other parameters.
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
    _require_same(study, sweep)
    parent = experiment.open_parent("sweep", {})
    signals = SignalGuard(partial(parent.end, "KILLED"))
    try:
        while left := settings.trials - _count_done(study):
            begun = len(study.trials)
            work = {f"draw {index}": (sweep, index, parent.run_id) for index in range(begun, begun + left)}
            for _, number in share_work(run_one, run_one_on_worker, work, workers, scheduler):
                trial = study.trials[number]
                value = "stopped" if trial.value is None or trial.state.name == "PRUNED" else f"{trial.value:.4f}"
                logger.info("Trial %d: %s, %d of %d are done", number, value, _count_done(study), settings.trials)
        parent.end("FINISHED")
    except BaseException:
        parent.end("FAILED")
        raise
    finally:
        signals.release()
    table = list_trials(study)
    table.to_csv(root / "trials.csv", index=False)
    return table


def run_one_on_worker(sweep: Sweep, index: int, parent_run: str) -> int:
    """As run_one, in a worker's process."""
    bootstrap_project(sweep.experiment.project)
    _require_optuna()
    with written_to(sweep.root / f"worker_{index}_{LOG}"):
        return run_one(sweep, index, parent_run)


def run_one(sweep: Sweep, index: int, parent_run: str) -> int:
    """Let Optuna draw one trial, run it, and give its number."""
    numbers: list[int] = []
    _open_study(sweep, index).optimize(
        partial(_measure, sweep, parent_run), n_trials=1, callbacks=[lambda _, trial: numbers.append(trial.number)]
    )
    return numbers[0]


def _measure(sweep: Sweep, parent_run: str, drawn: Any) -> float:
    """The objective of one trial; where a worker died of it, the trial goes on from its checkpoint."""
    from optuna import TrialPruned
    from optuna.storages import RetryHeartbeatStaleTrialCallback

    first = RetryHeartbeatStaleTrialCallback.retried_trial_number(drawn.study.trials[drawn.number])
    number = drawn.number if first is None else first
    given = {name: draw(drawn, name, what) for name, what in sweep.settings.space.items()}
    runs = _list_runs(sweep, number, given)
    values = []
    for trial in runs:
        with watched_by(partial(_report, drawn)) if len(runs) == 1 else nullcontext():
            try:
                sweep.experiment.run_once(trial, parent_run, OUTPUTS[sweep.settings.objective])
            except StopTraining as stop:
                raise TrialPruned(str(stop)) from stop
        values.append(_read_value(sweep.settings.objective, trial))
    return sum(values) / len(values)


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
            raise InputError("sweep.objective is validation, but there are no validation cases: split.validation_cases")
        return float(history[SCORE].iloc[-1])
    cases = pd.read_csv(reporting / "case_metrics.csv")
    return float(cases.loc[cases["subset"] == "test", "dice"].mean())


def _report(drawn: Any, row: Row) -> None:
    """Tell Optuna of an epoch, and stop the training where it says so."""
    if SCORE in row:
        drawn.report(row[SCORE], int(row["epoch"]))
        if drawn.should_prune():
            raise StopTraining(f"under the median of the others in epoch {int(row['epoch'])}")


def _require_optuna() -> None:
    with explain_missing_extras():
        import optuna
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Heartbeats and retries are called experimental since 2021.
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)


def _reach_study(sweep: Sweep) -> Any:
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return _open_study(sweep, 0)
    except (ImportError, SQLAlchemyError, StorageInternalError) as error:
        raise InputError(
            f"sweep.storage cannot be used ({first_line(error)}). Expected a URL that SQLAlchemy knows, whose driver "
            "is installed and whose database answers, or null for a file beside the trials."
        ) from error


def _require_same(study: Any, sweep: Sweep) -> None:
    """Go on with a study only as it was begun; ranges, and how many trials are wanted, may be others."""
    space = describe_space(sweep.settings.space)
    fixed = {name: value for name, value in sweep.experiment.settings().items() if name not in sweep.settings.space}
    now = {**fixed, **space, "sweep.objective": sweep.settings.objective}
    earlier = study.user_attrs.get(BEGUN_WITH)
    if earlier is None:
        study.set_user_attr(BEGUN_WITH, now)
    elif changes := log_changes(earlier, now):
        raise InputError.from_problems(
            f"The study {sweep.settings.study} was begun in another way", changes, "Name another one: sweep.study."
        )


def _open_study(sweep: Sweep, index: int) -> Any:
    """The study, made where it is not there yet; `index` makes the draws of several workers differ."""
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
    """number, state, value and what was drawn, the best first."""
    rows = [
        {"number": trial.number, "state": trial.state.name.lower(), "value": trial.value, **trial.params}
        for trial in study.trials
    ]
    return pd.DataFrame(rows).sort_values("value", ascending=False, ignore_index=True)
