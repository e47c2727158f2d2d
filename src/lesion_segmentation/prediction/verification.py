"""Verification that a network reproduces published scores on the user's copy of PH2."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.sources.folder import find_images
from lesion_segmentation.evaluation.scores import count_pixels, score_counts
from lesion_segmentation.images.read import open_image, to_mask
from lesion_segmentation.prediction.predictor import load_predictor
from lesion_segmentation.prediction.settings import PredictionSettings

TOLERANCE = 0.0005
"""Accepted difference of a mean score, since single pixels change with the rounding of the processor."""
REMEDY = "Import PH2: make ph2 FROM=<its folder>"
SCORES = ("dice", "iou", "accuracy")


def verify(weights: Path, cases: Path, figures: Mapping[str, float]) -> pd.DataFrame:
    """Score a network on all cases, at the size of each image and in float32.

    Args:
        weights: The weights file.
        cases: A folder with images and masks, as `kedro import-ph2` writes it.
        figures: The expected dice, iou and accuracy as fractions, and the number of cases. Another number of cases
            raises an InputError.

    Returns:
        Columns score, found, expected, agrees; one row per score.
    """
    if not cases.is_dir():
        raise InputError(f"{cases} does not exist. {REMEDY}")
    images, masks = (find_images(cases / name, masks=name == "masks") for name in ("images", "masks"))
    if len(images) != figures["cases"] or set(images) != set(masks):
        raise InputError(
            f"{cases} has {len(images)} images and {len(masks)} masks, expected {figures['cases']:.0f} of each. "
            f"{REMEDY}"
        )
    predictor = load_predictor(weights, PredictionSettings(precision="32-true"))
    predictions = zip(images, predictor(images.values()), strict=True)
    counts = [count_pixels(each.mask, to_mask(open_image(masks[name]))) for name, each in predictions]
    means = {name: scores.mean() for name, scores in score_counts(**pd.DataFrame(counts).to_dict("series")).items()}
    rows = [(name, means[name], figures[name], abs(means[name] - figures[name]) <= TOLERANCE) for name in SCORES]
    return pd.DataFrame(rows, columns=["score", "found", "expected", "agrees"])
