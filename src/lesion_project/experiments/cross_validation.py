"""Cross-validation: five trials, one a fold, and what they say together."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from kedro.framework.startup import bootstrap_project

from lesion_project.experiments.trials import Experiment, Trial, run_trials
from lesion_project.tracking.signals import SignalGuard
from lesion_segmentation.core.atomic_files import expand_home
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.workers import check_workers
from lesion_segmentation.data.splits import FOLDS


def cross_validate(
    project: Path,
    env: str | None,
    folds: Sequence[int],
    params: Mapping[str, Any],
    workers: int | None = None,
    scheduler: str | None = None,
) -> None:
    """Run the folds that are not finished, each a child of one parent run in MLflow, then pool all that are.

    Args:
        project: The Kedro project.
        env: As `kedro run --env`.
        folds: Which of the five; those finished earlier under the same parameters are not run again.
        params: As `kedro run --params`, nested; folds stand below its data_root, by default
            data/cross_validation/<env>.
        workers: How many processes of this machine share the folds; None runs them one after the other.
        scheduler: The address of a Dask cluster that shares them instead, over one file system.

    Raises:
        InputError: The folds that would be pooled are not all of these parameters, or there is no such fold.
    """
    wrong = [fold for fold in folds if not 0 <= fold < FOLDS]
    if wrong:
        raise InputError(f"There is no fold {wrong[0]}: expected some of 0 to {FOLDS - 1}")
    check_workers(workers, scheduler)
    bootstrap_project(project)
    root = expand_home(params.get("data_root", f"data/cross_validation/{env or 'base'}"))
    trials = list_folds(root)
    experiment = Experiment(project, env, params)
    asked_for = [trials[fold] for fold in folds]
    finished = experiment.find_finished(trials, [trial.name for trial in asked_for])
    parent = experiment.open_parent(
        "cross-validate", {"split": {"protocol": "folds", "fold": _list(folds)}}, _list(folds)
    )
    signals = SignalGuard(partial(parent.end, "KILLED"))
    try:
        left = [trial for trial in asked_for if trial.name not in finished]
        run_trials(experiment, left, parent.run_id, workers, scheduler)
        experiment.run_pipeline("cross_validation", root, parent)
        parent.end("FINISHED")
    except Exception:
        parent.end("FAILED")
        raise
    finally:
        signals.release()


def _list(folds: Sequence[int]) -> str:
    return ",".join(str(fold) for fold in folds)


def list_folds(root: Path) -> list[Trial]:
    """The five folds by diagnosis as trials below a data root."""
    return [
        Trial(f"fold_{fold}", {"split": {"protocol": "folds", "fold": fold}}, root / f"fold_{fold}")
        for fold in range(FOLDS)
    ]
