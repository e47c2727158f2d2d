"""The command `kedro predict`: a Kedro session that runs the pipeline `prediction`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec
from kedro.config import MissingConfigException
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from lesion_project.datasets.mlflow_runs import find_network, is_weights_file
from lesion_project.tracking.store import probe, resolve_uri
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.storage import StoragePath
from lesion_segmentation.prediction.input_images import SelectedImages
from lesion_segmentation.prediction.settings import FOLLOW_WEIGHTS
from lesion_segmentation.prediction.store import WORK_FOLDER, PredictionStore

EXPERIMENT = "ph2-segnet-prediction"


def run_prediction(
    project: Path, env: str | None, arguments: Mapping[str, Any], images: SelectedImages, settings: Mapping[str, Any]
) -> tuple[int, int]:
    """Run the pipeline `prediction`, or `prediction_with_truth` if the arguments have true masks.

    `arguments` has source, target, weights, shard, truth, workers and scheduler, with None if not given, and `images`
    are those that source and shard select. `settings` has the parameters `prediction` that the command line sets; all
    others come from the environment, except FOLLOW_WEIGHTS, which come from the weights.

    Returns:
        Numbers of selected images that are finished and that failed.
    """
    bootstrap_project(project)
    given = {name: _to_text(value) for name, value in arguments.items() if value is not None}
    target = arguments["target"]
    # Each shard has its own data root, since the run lock allows only one run at a time in a data root.
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


def find_weights(project: Path, env: str | None, name: str) -> Any:
    """Load a network like the parameter `training.init_from`, without starting a run."""
    if not is_weights_file(name):
        import mlflow

        tracking_uri = resolve_uri(_load_configuration(project, env)["mlflow"], project)
        probe(tracking_uri)
        mlflow.set_tracking_uri(tracking_uri)
    return find_network(name)


def use_credentials(project: Path, env: str | None) -> None:
    """Pass credentials.yml to fsspec. Each entry is named after a protocol: s3 for s3:// addresses, gs for gs://."""
    try:
        credentials = _load_configuration(project, env)["credentials"]
    except MissingConfigException:
        return
    if wrong := [name for name, keys in credentials.items() if not isinstance(keys, Mapping)]:
        raise InputError(
            f"Entries of credentials.yml are not mappings: {', '.join(wrong)}. Expected keys such as key and secret."
        )
    fsspec.config.conf.update(credentials)


def _load_configuration(project: Path, env: str | None) -> Mapping[str, Any]:
    bootstrap_project(project)
    with KedroSession.create(project, env=env) as session:
        loader: Mapping[str, Any] = session.load_context().config_loader
    return loader


def _to_text(value: Any) -> str:
    if isinstance(value, StoragePath):
        return value.url
    return str(value.absolute() if isinstance(value, Path) else value)
