"""Cross-validation: one trial per fold, and scores pooled over the folds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kedro.framework.startup import bootstrap_project

from lesion_project.experiments.trials import Experiment, Trial, run_trials
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
    """Run the unfinished folds as children of one MLflow run, then pool the scores of all finished folds.

    Folds that were finished with the same parameters are not repeated. They are written below the data_root in
    `params`, which is data/cross_validation/<env> by default. Without `workers` (processes of this machine) and
    `scheduler` (address of a Dask cluster with the same file system), one fold runs after the other.

    Raises:
        InputError: A fold does not exist, or folds that would be pooled have different parameters.
    """
    if wrong := [fold for fold in folds if not 0 <= fold < FOLDS]:
        raise InputError(f"There is no fold {wrong[0]}. Expected some of 0 to {FOLDS - 1}.")
    check_workers(workers, scheduler)
    bootstrap_project(project)
    root = expand_home(params.get("data_root", f"data/cross_validation/{env or 'base'}"))
    trials = [Trial(f"fold_{fold}", _fold_parameters(fold), root / f"fold_{fold}") for fold in range(FOLDS)]
    experiment = Experiment(project, env, params)
    requested = [trials[fold] for fold in folds]
    finished = experiment.find_finished(trials, [trial.name for trial in requested])
    shown = ",".join(str(fold) for fold in folds)
    with experiment.open_parent("cross-validate", _fold_parameters(shown), shown) as parent:
        unfinished = [trial for trial in requested if trial.name not in finished]
        run_trials(experiment, unfinished, parent.run_id, workers, scheduler)
        experiment.run_pipeline("cross_validation", root, parent)


def _fold_parameters(fold: int | str) -> dict[str, Any]:
    return {"split": {"protocol": "folds", "fold": fold}}
