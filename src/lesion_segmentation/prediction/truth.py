"""Evaluation of predicted masks against true masks, at the size of each image."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.user_tables import normalize_name
from lesion_segmentation.data.sources.annotation_files import open_mask
from lesion_segmentation.data.sources.folder import find_images
from lesion_segmentation.evaluation.borders import DISTANCE_METRICS, score_distances
from lesion_segmentation.evaluation.intervals import mean_rows
from lesion_segmentation.evaluation.scores import CASE_METRICS, score_case
from lesion_segmentation.images.read import to_mask
from lesion_segmentation.prediction.input_images import ImageFile, remove_suffix
from lesion_segmentation.prediction.tables import PredictionTables

SCORES, SUMMARY = "scores.csv", "score_summary.csv"


def find_truth(folder: Path, images: Sequence[ImageFile]) -> dict[str, Path]:
    """Return the file of the true mask by image name. An InputError lists missing masks and those of several images."""
    found = find_images(folder, masks=True)
    truth = {image.name: found.get(normalize_name(Path(image.stem).name)) for image in images}
    uses = Counter(mask for mask in truth.values() if mask)
    problems = [f"{name}: there is no mask" for name, mask in truth.items() if not mask]
    problems += [f"{mask.name} is the mask of {count} images" for mask, count in uses.items() if count > 1]
    if problems:
        remedy = "Name a mask like its image, with or without _mask, _segmentation or _lesion."
        raise InputError.from_problems(f"The true masks in {folder} cannot be used", problems, remedy)
    return {name: mask for name, mask in truth.items() if mask}


def score_images(predictions: PredictionTables, truth: Mapping[str, Path]) -> pd.DataFrame:
    """Score each predicted mask for which there is a true mask. Problems with masks are reported together.

    Returns:
        Columns image, the CASE_METRICS as fractions, and distances between borders in pixels and in percent of the
        diagonal.
    """
    assert isinstance(predictions.target, Path)  # check_request refuses other storage
    rows, problems = [], []
    names = [name for name in predictions.table["image"] if name in truth]
    for name in tqdm(names, unit="image", desc="scoring"):
        file = predictions.target / f"{remove_suffix(name)}_mask.png"
        if not file.is_file():
            problems.append(f"{name}: {file.name} has been removed")
            continue
        with Image.open(file) as predicted:
            mask = np.asarray(predicted) > 0
        try:
            true = to_mask(open_mask(truth[name]))
        except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            problems.append(f"{truth[name]}: {error}")
            continue
        if true.shape != mask.shape:
            problems.append(f"{name}: the true mask is {true.shape[::-1]}, the image {mask.shape[::-1]}")
            continue
        rows.append({"image": name, **score_case(mask, true), **score_distances(mask, true)})
    if problems:
        raise InputError.from_problems("Some true masks cannot be used", problems, "The predictions are finished.")
    return pd.DataFrame(rows, columns=["image", *CASE_METRICS, *DISTANCE_METRICS])


def summarize_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the columns metric, n, score (mean over images), and low and high of its 95% CI."""
    rows = mean_rows(scores[[*CASE_METRICS, *DISTANCE_METRICS]]) if len(scores) else []
    return pd.DataFrame(rows, columns=["metric", "n", "score", "low", "high"])


def describe_scores(summary_file: Path) -> str:
    """Return a line with the mean Dice, IoU and accuracy in percent."""
    scores = pd.read_csv(summary_file).set_index("metric")["score"].filter(["dice", "iou", "accuracy"])
    means = ", ".join(f"{metric} {100 * score:.2f}%" for metric, score in scores.items())
    return f"Mean scores: {means or 'none, since no image was scored'}"
