"""Predicted masks beside true ones, at the pictures' own size."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.sources.folder import find_images, open_image
from lesion_segmentation.evaluation.borders import DISTANCE_METRICS, score_distances
from lesion_segmentation.evaluation.cases import CASE_METRICS, score_case
from lesion_segmentation.evaluation.intervals import mean_with_interval
from lesion_segmentation.images.read import to_mask
from lesion_segmentation.prediction.input_images import ImageFile
from lesion_segmentation.prediction.tables import PredictionTables

SCORES, SUMMARY = "scores.csv", "score_summary.csv"


def find_truth(folder: Path, pictures: Sequence[ImageFile]) -> dict[str, Path]:
    """Name of each picture to its true mask, found by the file's name, with or without _mask or _segmentation.

    Raises:
        InputError: Pictures have none; they are named.
    """
    found = find_images(folder, masks=True)
    missing = [picture.name for picture in pictures if Path(picture.stem).name not in found]
    if missing:
        raise InputError.from_problems(
            f"{folder} has no mask for {len(missing)} of {len(pictures)} pictures",
            missing,
            "A mask is called as its picture, with or without _mask, _segmentation or _lesion.",
        )
    return {picture.name: found[Path(picture.stem).name] for picture in pictures}


def score_images(predictions: PredictionTables, truth: Mapping[str, Path]) -> pd.DataFrame:
    """Score each mask of a folder of predictions that a true mask is at hand for.

    Returns:
        picture, the CASE_METRICS as fractions, and distances of borders in pixels and in percent of the diagonal.

    Raises:
        InputError: True masks are damaged or of another size than their picture; all are named.
    """
    assert isinstance(predictions.target, Path)  # check_request refuses others
    rows, problems = [], []
    for name in [name for name in predictions.table["picture"] if name in truth]:
        place = predictions.target / f"{name.removesuffix(Path(name).suffix)}_mask.png"
        if not place.is_file():
            problems.append(f"{name}: {place.name} is no longer there")
            continue
        with Image.open(place) as predicted:
            mask = np.asarray(predicted) > 0
        try:
            true = to_mask(open_image(truth[name]))
        except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            problems.append(f"{truth[name]}: {error}")
            continue
        if true.shape != mask.shape:
            problems.append(f"{name}: the mask is {true.shape[::-1]}, the picture {mask.shape[::-1]}")
            continue
        rows.append({"picture": name, **score_case(mask, true), **score_distances(mask, true)})
    if problems:
        raise InputError.from_problems("Some true masks cannot be used", problems, "The predictions are finished.")
    return pd.DataFrame(rows, columns=["picture", *CASE_METRICS, *DISTANCE_METRICS])


def summarize_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """metric, n, score (mean over pictures), and its 95% interval low to high."""
    rows = [
        {"metric": metric, "n": len(scores), **mean_with_interval(scores[metric].to_numpy())}
        for metric in (*CASE_METRICS, *DISTANCE_METRICS)
        if len(scores)
    ]
    return pd.DataFrame(rows, columns=["metric", "n", "score", "low", "high"])
