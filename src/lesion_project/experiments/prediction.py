"""`kedro predict` as a run of the pipeline `prediction`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec
from kedro.config import MissingConfigException
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.storage import StoragePath
from lesion_segmentation.prediction.input_images import SelectedImages
from lesion_segmentation.prediction.settings import FOLLOW_WEIGHTS
from lesion_segmentation.prediction.store import WORK_FOLDER, PredictionStore

EXPERIMENT = "ph2-segnet-prediction"


def run_prediction(
    project: Path,
    env: str | None,
    arguments: Mapping[str, Any],
    images: SelectedImages,
    settings: Mapping[str, Any],
) -> tuple[int, int]:
    """Run the pipeline.

    Args:
        project: The Kedro project.
        env: The environment, as for `kedro run --env`.
        arguments: source, target, weights, shard, truth, workers and scheduler.
        images: The images that the arguments select.
        settings: The parameters `prediction` that the command line sets. Others come from the environment, except that
            those in FOLLOW_WEIGHTS come from the weights.

    Returns:
        Numbers of selected images that are finished and that failed.
    """
    bootstrap_project(project)
    given = {name: _to_text(value) for name, value in arguments.items() if value is not None}
    target = arguments["target"]
    # Each shard has a data root of its own, for what MLflow could not be sent, so that shards can run side by side.
    work = target / WORK_FOLDER if isinstance(target, Path) else project / "data/07_model_output" / target.name
    runtime = {
        "experiment": EXPERIMENT,
        "predict_arguments": given,
        "prediction": {**dict.fromkeys(FOLLOW_WEIGHTS), **settings},
        "data_root": str(work / given.get("shard", "all").replace("/", "-of-")),
    }
    pipeline = "prediction_with_truth" if "truth" in given else "prediction"
    with KedroSession.create(project, env=env, runtime_params=runtime) as session:
        session.run(pipeline_names=[pipeline])
    tables = PredictionStore(target).read_tables()
    selected = {image.name for image in images.files}
    return len(selected.intersection(tables.table["image"])), len(selected.intersection(tables.failures["image"]))


def use_credentials(project: Path, env: str | None) -> None:
    """Pass credentials.yml to fsspec: the entry s3 is for s3:// addresses, gs for gs:// addresses, and so on.

    Raises:
        InputError: An entry is no mapping.
    """
    bootstrap_project(project)
    with KedroSession.create(project, env=env) as session:
        loader = session.load_context().config_loader
    try:
        credentials = loader["credentials"]
    except MissingConfigException:
        return
    if wrong := [name for name, keys in credentials.items() if not isinstance(keys, Mapping)]:
        raise InputError(
            f"credentials.yml has no values for {', '.join(wrong)}. Expected a mapping, such as key and secret."
        )
    fsspec.config.conf.update(credentials)


def _to_text(value: Any) -> str:
    if isinstance(value, StoragePath):
        return value.url
    return str(value.absolute() if isinstance(value, Path) else value)
