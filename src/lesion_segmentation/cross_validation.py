"""Cross-validation: each fold is one whole run of the same pipelines under other runtime parameters."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from lesion_segmentation.data.splits import FOLDS
from lesion_segmentation.errors import InputError
from lesion_segmentation.files import replacing
from lesion_segmentation.tracking import TrackedRun, flatten, probe, resolve_uri

FINISHED = "finished.json"


def cross_validate(project: Path, env: str | None, folds: Sequence[int], params: Mapping[str, Any]) -> None:
    """Run the folds that are not finished, each a child of one parent run in MLflow, then pool all that are.

    Args:
        project: The Kedro project.
        env: As `kedro run --env`.
        folds: Which of the five; those finished earlier under the same parameters are not run again.
        params: As `kedro run --params`, nested.

    Raises:
        InputError: The folds that would be pooled are not all of these parameters, or there is no such fold.
    """
    wrong = [fold for fold in folds if not 0 <= fold < FOLDS]
    if wrong:
        raise InputError(f"There is no fold {wrong[0]}: expected some of 0 to {FOLDS - 1}")
    bootstrap_project(project)
    root = Path("data") / "cross_validation" / (env or "base")
    runtimes = {fold: _runtime_of(fold, root, params) for fold in range(FOLDS)}
    settings = {fold: _read_settings(project, env, runtime) for fold, runtime in runtimes.items()}
    finished = _find_finished(project / root, folds, settings)
    parent = _open_parent(project, env, params)
    try:
        for fold in [fold for fold in folds if fold not in finished]:
            runtime = {**runtimes[fold], "parent_run": parent.run_id}
            with KedroSession.create(project, env=env, runtime_params=runtime) as session:
                session.run()
            with replacing(project / root / f"fold_{fold}" / FINISHED) as path:
                path.write_text(json.dumps(settings[fold], indent=2))
        runtime = {**params, "data_root": str(root), "tracked_run": parent.run_id}
        with KedroSession.create(project, env=env, runtime_params=runtime) as session:
            session.run(pipeline_names=["cross_validation"])
    except Exception:
        parent.end("FAILED")
        raise
    parent.end("FINISHED")


def _runtime_of(fold: int, root: Path, params: Mapping[str, Any]) -> dict[str, Any]:
    split = {**params.get("split", {}), "protocol": "folds", "fold": fold}
    return {**params, "split": split, "data_root": str(root / f"fold_{fold}")}


def _read_settings(project: Path, env: str | None, runtime: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that a fold's result depends on, as JSON gives them back."""
    with KedroSession.create(project, env=env, runtime_params=dict(runtime)) as session:
        parameters = flatten(session.load_context().config_loader["parameters"])
    without = ("data_root", "experiment", "training.resume")
    settings: dict[str, Any] = json.loads(json.dumps({k: v for k, v in parameters.items() if k not in without}))
    return settings


def _find_finished(root: Path, folds: Sequence[int], settings: Mapping[int, Mapping[str, Any]]) -> set[int]:
    """Which folds need not be run; those that would be pooled without being asked for must be of the same kind."""
    finished, problems = set(), []
    for fold, now in settings.items():
        marker = root / f"fold_{fold}" / FINISHED
        if marker.is_file():
            finished.add(fold)
            earlier = json.loads(marker.read_text())
            names = [name for name in sorted({*earlier, *now}) if earlier.get(name) != now.get(name)]
            problems += [f"fold {fold}: {name}: {earlier.get(name)} then, {now.get(name)} now" for name in names]
        elif marker.parent.exists() and fold not in folds:
            problems.append(f"fold {fold} was begun and not finished, and --folds leaves it out")
    if problems:
        raise InputError.from_problems(
            f"The folds in {root} do not belong together",
            problems,
            "Use the parameters of the finished folds, add what is not finished to --folds, or remove their folders.",
        )
    return finished


def _open_parent(project: Path, env: str | None, params: Mapping[str, Any]) -> TrackedRun:
    with KedroSession.create(project, env=env, runtime_params=dict(params)) as session:
        config = session.load_context().config_loader["mlflow"]
    name = f"{env or 'base'} cross-validation"
    uri = resolve_uri(config, project)
    probe(uri)
    return TrackedRun(uri, config["experiment"], project / "mlruns", name, {"environment": env or "base"})
