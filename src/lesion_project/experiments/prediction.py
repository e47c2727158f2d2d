"""`kedro predict`: one run of the pipeline `prediction`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec
from kedro.config import MissingConfigException
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.storage import Place
from lesion_segmentation.prediction.input_images import SelectedImages
from lesion_segmentation.prediction.tables import read_tables
from lesion_segmentation.prediction.workspace import Workspace

EXPERIMENT = "ph2-segnet-prediction"


def run_prediction(
    project: Path, env: str | None, places: Mapping[str, Any], chosen: SelectedImages, given_settings: Mapping[str, Any]
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
    given |= {name: str(value.absolute()) for name, value in places.items() if isinstance(value, Path)}
    given |= {name: value.url for name, value in places.items() if isinstance(value, Place)}
    target = places["target"]
    # Of this run alone, so that parts may run side by side: what MLflow did not take would stand there.
    beside = Workspace(target).folder if isinstance(target, Path) else project / "data/07_model_output" / target.name
    data_root = beside / given.get("part", "all").replace("/", "-of-")
    runtime = {"places": given, "inference": dict(given_settings), "data_root": str(data_root)}
    pipeline = "prediction_with_truth" if "truth" in given else "prediction"
    with KedroSession.create(project, env=env, runtime_params={"experiment": EXPERIMENT, **runtime}) as session:
        session.run(pipeline_names=[pipeline])
    tables = read_tables(target)
    mine = {picture.name for picture in chosen.files}
    return len(mine & set(tables.table["picture"])), len(mine & set(tables.failures["picture"]))


def use_credentials(project: Path, env: str | None) -> None:
    """Tell fsspec the keys of conf's credentials.yml: the entry s3 is for s3://, gs for gs://, and so on."""
    bootstrap_project(project)
    with KedroSession.create(project, env=env) as session:
        loader = session.load_context().config_loader
    try:
        credentials = loader["credentials"]
    except MissingConfigException:
        return
    if wrong := [name for name, keys in credentials.items() if not isinstance(keys, Mapping)]:
        raise InputError(
            f"credentials.yml has nothing under {', '.join(wrong)}. Expected a mapping, such as key and secret."
        )
    fsspec.config.conf.update(credentials)
