"""`kedro predict`: one run of the pipeline `inference`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from lesion_segmentation.inference.folder import JOURNALS, read_tables
from lesion_segmentation.inference.pictures import Chosen

EXPERIMENT = "ph2-segnet-inference"


def run_inference(
    project: Path, env: str | None, places: Mapping[str, Any], chosen: Chosen, given_settings: Mapping[str, Any]
) -> tuple[int, int]:
    """Run the pipeline; gives how many of the chosen pictures are done, and how many failed.

    Args:
        project: The Kedro project.
        env: As `kedro run --env`.
        places: source, target, weights, part, truth, workers and scheduler.
        chosen: The pictures, as they will be chosen there.
        given_settings: Which parameters `inference` the command names.
    """
    bootstrap_project(project)
    given = {name: str(value) for name, value in places.items() if value is not None}
    given |= {name: str(Path(given[name]).absolute()) for name in ("source", "target", "truth") if name in given}
    # Of this run alone, so that parts may run side by side: what MLflow did not take would stand there.
    data_root = Path(given["target"]) / JOURNALS / given.get("part", "all").replace("/", "-of-")
    runtime = {"places": given, "inference": dict(given_settings), "data_root": str(data_root)}
    pipeline = "inference_with_truth" if "truth" in given else "inference"
    with KedroSession.create(project, env=env, runtime_params={"experiment": EXPERIMENT, **runtime}) as session:
        session.run(pipeline_names=[pipeline])
    tables = read_tables(Path(given["target"]))
    mine = {picture.name for picture in chosen.files}
    return len(mine & set(tables.table["picture"])), len(mine & set(tables.failures["picture"]))
