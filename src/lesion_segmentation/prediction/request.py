"""`predict` from start to end, without Kedro and MLflow."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lesion_segmentation.core.atomic_files import atomic_write
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.extras import explain_missing_extras
from lesion_segmentation.core.storage import Location, is_within
from lesion_segmentation.prediction.input_images import SelectedImages, select_images
from lesion_segmentation.prediction.run_settings import RunSettings
from lesion_segmentation.prediction.tables import read_tables
from lesion_segmentation.prediction.truth import SCORES, SUMMARY, find_truth, score_images, summarize_scores


@dataclass(frozen=True)
class Request:
    """What is asked for: checked as far as it can be without a network.

    Attributes:
        chosen: The pictures to be predicted, and all that there are.
        target: The folder of predictions.
        truth: Name of each picture to its true mask, where there are any.
    """

    chosen: SelectedImages
    target: Location
    truth: dict[str, Path]


def check_request(source: Location, target: Location, part: str | None = None, truth: Path | None = None) -> Request:
    """Look at everything that can be refused before any work.

    Raises:
        InputError: There are no pictures, two would have one mask, the target lies among them, or truths are missing.
    """
    if is_within(target, source) and not (isinstance(source, Path) and source.is_file()):
        raise InputError(f"{target} lies in {source}: its masks would be taken for pictures. Name a folder elsewhere.")
    if truth is not None and not isinstance(target, Path):
        raise InputError(f"--truth needs OUT on this machine, and {target} is not. Leave one of the two.")
    if truth is not None and (is_within(target, truth) or is_within(truth, target)):
        raise InputError(f"{target} and the true masks in {truth} would mix. Name a folder elsewhere.")
    chosen = select_images(source, part)
    if truth is None:
        return Request(chosen, target, {})
    truths = find_truth(truth, chosen.listed)
    with explain_missing_extras():  # MONAI computes the surface distances: fail here, before any prediction
        import monai.metrics  # noqa: F401
    return Request(chosen, target, truths)


def predict_request(
    request: Request,
    weights: Path,
    settings: RunSettings,
    workers: int | None = None,
    scheduler: str | None = None,
) -> tuple[int, int]:
    """Predict, and score where truths are given; gives how many of the pictures are done, and how many failed.

    Raises:
        InputError: The weights cannot be used, or the target holds masks of others.
    """
    from lesion_segmentation.model import load_network
    from lesion_segmentation.prediction.predictions import prepare

    counts = prepare(load_network(weights), request.chosen, settings).write_to(request.target, workers, scheduler)
    if request.truth and isinstance(request.target, Path):
        write_scores(request.target, request.truth)
    return counts


def write_scores(target: Path, truth: Mapping[str, Path]) -> None:
    """The whole metric report, as two tables in the folder of predictions."""
    scores = score_images(read_tables(target), truth)
    for name, table in ((SCORES, scores), (SUMMARY, summarize_scores(scores))):
        with atomic_write(target / name) as path:
            table.to_csv(path, index=False)
