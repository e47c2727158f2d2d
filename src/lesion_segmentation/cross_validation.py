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
        InputError: A finished fold was run under other parameters, or there is no such fold.
    """
    wrong = [fold for fold in folds if not 0 <= fold < FOLDS]
    if wrong:
        raise InputError(f"There is no fold {wrong[0]}: expected some of 0 to {FOLDS - 1}")
    bootstrap_project(project)
    root = Path("data") / "cross_validation" / (env or "base")
    parent = _open_parent(project, env, params)
    try:
        for fold in folds:
            _run_fold(project, env, fold, root / f"fold_{fold}", params, parent.run_id)
        runtime = {**params, "data_root": str(root), "tracked_run": parent.run_id}
        with KedroSession.create(project, env=env, runtime_params=runtime) as session:
            session.run(pipeline_names=["cross_validation"])
    except Exception:
        parent.end("FAILED")
        raise
    parent.end("FINISHED")


def _run_fold(project: Path, env: str | None, fold: int, root: Path, params: Mapping[str, Any], parent: str) -> None:
    split = {**params.get("split", {}), "protocol": "folds", "fold": fold}
    runtime = {**params, "split": split, "data_root": str(root), "parent_run": parent}
    with KedroSession.create(project, env=env, runtime_params=runtime) as session:
        loader = session.load_context().config_loader
        parameters = {k: v for k, v in flatten(loader["parameters"]).items() if k not in ("parent_run", "data_root")}
        if not _is_finished(project / root, parameters):
            session.run()
            with replacing(project / root / FINISHED) as path:
                path.write_text(json.dumps(parameters, indent=2))


def _is_finished(root: Path, parameters: Mapping[str, Any]) -> bool:
    marker = root / FINISHED
    if not marker.is_file():
        return False
    earlier = json.loads(marker.read_text())
    now = json.loads(json.dumps(parameters))
    names = sorted({*earlier, *now})
    changed = [f"{n}: {earlier.get(n)} then, {now.get(n)} now" for n in names if earlier.get(n) != now.get(n)]
    if changed:
        raise InputError.from_problems(
            f"{root} was finished under other parameters", changed, f"Use those, or remove {root} to run it again."
        )
    return True


def _open_parent(project: Path, env: str | None, params: Mapping[str, Any]) -> TrackedRun:
    with KedroSession.create(project, env=env, runtime_params=dict(params)) as session:
        config = session.load_context().config_loader["mlflow"]
    name = f"{env or 'base'} cross-validation"
    uri = resolve_uri(config, project)
    probe(uri)
    return TrackedRun(uri, config["experiment"], project / "mlruns", name, {"environment": env or "base"})
