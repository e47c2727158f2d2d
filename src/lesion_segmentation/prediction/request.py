"""The command `predict` from its arguments to masks, tables and scores, without Kedro and MLflow."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesion_segmentation.core.atomic_files import atomic_write
from lesion_segmentation.core.errors import InputError, pluralize
from lesion_segmentation.core.extras import require
from lesion_segmentation.core.storage import Location, is_within
from lesion_segmentation.prediction.input_images import SelectedImages, select_images
from lesion_segmentation.prediction.settings import PredictionSettings
from lesion_segmentation.prediction.shards import predict_shards
from lesion_segmentation.prediction.store import PredictionStore
from lesion_segmentation.prediction.stream import predict_to_store
from lesion_segmentation.prediction.tables import RANKING, RANKING_COLUMNS, PredictionTables, encode_table, rank_rows

if TYPE_CHECKING:
    from lesion_segmentation.model import Network
    from lesion_segmentation.prediction.predictor import Predictor


def check_request(
    source: Location, target: Location, shard: str | None = None, truth: Path | None = None
) -> tuple[SelectedImages, dict[str, Path]]:
    """Check everything that can be refused without the network.

    Returns the images to predict, and the file of the true mask by image name, which is empty without true masks.

    Raises:
        InputError: There are no images, two would get the same mask file, the target lies in the source or mixes with
            the true masks, or true masks are missing.
    """
    is_folder = not (isinstance(source, Path) and source.is_file())
    if is_folder and is_within(target, source):
        raise InputError(f"{target} lies in {source}, so its masks would be taken for images. Choose another folder.")
    if truth is not None and not isinstance(target, Path):
        raise InputError(f"--truth needs OUT on this machine, but OUT is {target}. Omit --truth or use a local folder.")
    if truth is not None and (is_within(target, truth) or is_within(truth, target)):
        raise InputError(f"Predictions in {target} would mix with the true masks in {truth}. Choose another folder.")
    images = select_images(source, shard)
    folders = {image.path.parent for image in images.listed if is_folder and isinstance(image.path, Path)}
    if any(is_within(folder, target) and not is_within(folder, source) for folder in folders):
        raise InputError(f"A link in {source} leads to {target}, so its masks would be taken for images. Remove it.")
    if truth is None:
        return images, {}
    from lesion_segmentation.prediction.truth import find_truth  # imports pandas, which a prediction does not need

    truths = find_truth(truth, images.listed)
    require("monai.metrics")  # it computes the surface distances
    return images, truths


def predict_selected(
    network: "Network",
    images: SelectedImages,
    store: PredictionStore,
    settings: PredictionSettings,
    workers: int | None = None,
    scheduler: str | None = None,
) -> tuple[int, int]:
    """Predict the selected images that the store lacks, in this process or by Dask workers, and export the tables.

    Returns the numbers of selected images that are finished and that failed.

    Raises:
        InputError: The store has another provenance or cannot be used, or the workers fail.
    """
    from lesion_segmentation.prediction.predictor import make_predictor

    if settings.annotations:
        require("contourpy", "pycocotools.mask")
    predictor = make_predictor(network, settings)
    if settings.rank and predictor.test_time_augmentation == "none":
        raise InputError(
            "The images cannot be ranked, since test-time augmentation is off and there are no flips to compare. Omit "
            "--no-tta if it is given. Otherwise the weights turn it off; omit --rank."
        )
    store.claim(describe_provenance(network, predictor), settings.kinds, images.files)
    remaining = store.find_remaining(images.files)
    if workers is None and scheduler is None:
        predict_to_store(predictor, remaining, store, settings, len(images.files) - len(remaining))
    else:
        predict_shards(network, remaining, store, settings, workers, scheduler)
    finished, failed = store.finish(images, partial(make_files, images, settings, store.target))
    if lost := len(images.files) - finished - failed:
        lost_images = pluralize(lost, "image is", "images are")
        raise InputError(f"{lost_images} in no table of {store.target}. Another process changed it. Predict again.")
    return finished, failed


def make_files(
    images: SelectedImages, settings: PredictionSettings, target: Location, rows: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of the ranking and the annotations for the rows of all finished images."""
    if settings.rank:
        yield RANKING, encode_table(RANKING_COLUMNS, rank_rows(rows))
    if settings.annotations:
        from lesion_segmentation.prediction.annotations import make_annotations

        finished = {row["image"] for row in rows}
        listed = [image for image in images.listed if image.name in finished]
        yield from make_annotations(settings.annotations, listed, target)


def describe_provenance(network: "Network", predictor: "Predictor") -> dict[str, Any]:
    """Return everything that the masks depend on: a digest of the weights and their metadata, and the settings."""
    digest = hashlib.sha256(json.dumps(network.metadata.to_dict(), sort_keys=True).encode())
    for name, tensor in sorted(network.own_state().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return {
        "weights": digest.hexdigest()[:16],
        "architecture": network.title,
        "trained_on": network.metadata.source,
        "threshold": predictor.threshold,
        "test_time_augmentation": predictor.test_time_augmentation,
        "keep_largest_component": predictor.keep_largest_component,
        "annotation_style": predictor.annotation_style,
        "precision": predictor.precision,
        "engine": predictor.engine,
    }


def write_scores(predictions: PredictionTables, truth: Mapping[str, Path], folder: Path) -> None:
    """Score predictions against true masks and write two tables: a row per image, and the means."""
    from lesion_segmentation.prediction.truth import SCORES, SUMMARY, score_images, summarize_scores

    scores = score_images(predictions, truth)
    for name, table in ((SCORES, scores), (SUMMARY, summarize_scores(scores))):
        with atomic_write(folder / name) as path:
            table.to_csv(path, index=False)
