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

    Args:
        project: The folder of the Kedro project.
        env: Environment, as in `kedro run --env`.
        folds: Numbers of the folds to run. Folds that were finished with the same parameters are not repeated.
        params: Nested parameters, as in `kedro run --params`. Folds are written below its data_root, which is
            data/cross_validation/<env> by default.
        workers: Number of processes of this machine that run folds in parallel; None for one fold after the other.
        scheduler: Address of a Dask cluster with the same file system that runs the folds instead.

    Raises:
        InputError: A fold does not exist, or folds that would be pooled have different parameters.
    """
    if wrong := [fold for fold in folds if not 0 <= fold < FOLDS]:
        raise InputError(f"There is no fold {wrong[0]}. Expected some of 0 to {FOLDS - 1}.")
    check_workers(workers, scheduler)
    bootstrap_project(project)
    root = expand_home(params.get("data_root", f"data/cross_validation/{env or 'base'}"))
    trials = list_folds(root)
    experiment = Experiment(project, env, params)
    requested = [trials[fold] for fold in folds]
    finished = experiment.find_finished(trials, [trial.name for trial in requested])
    shown = ",".join(str(fold) for fold in folds)
    with experiment.open_parent("cross-validate", {"split": {"protocol": "folds", "fold": shown}}, shown) as parent:
        unfinished = [trial for trial in requested if trial.name not in finished]
        run_trials(experiment, unfinished, parent.run_id, workers, scheduler)
        experiment.run_pipeline("cross_validation", root, parent)


def list_folds(root: Path) -> list[Trial]:
    """Return a trial below `root` for each of the five folds, which are stratified by diagnosis."""
    return [
        Trial(f"fold_{fold}", {"split": {"protocol": "folds", "fold": fold}}, root / f"fold_{fold}")
        for fold in range(FOLDS)
    ]
