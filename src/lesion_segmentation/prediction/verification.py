"""Whether a network scores on one's own copy of PH2 what its card says."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.sources.folder import find_images, open_image
from lesion_segmentation.evaluation.scores import count_pixels, score_counts
from lesion_segmentation.images.read import to_mask
from lesion_segmentation.prediction.loading import load_predictor
from lesion_segmentation.prediction.run_settings import RunSettings

TOLERANCE = 0.0005
"""Of a mean score: processors round differently, and a pixel here and there then changes sides."""
REMEDY = "Bring PH2 in: make ph2 FROM=<its folder>"
SCORES = ("dice", "iou", "accuracy")


def verify(weights: Path, cases: Path, figures: Mapping[str, float], batch_size: int = 8) -> pd.DataFrame:
    """Score a network on all cases, at the pictures' own size and in float32.

    Args:
        weights: Of the network.
        cases: A folder with images and masks, as `kedro import-ph2` leaves them.
        figures: dice, iou and accuracy as fractions, and cases: what is expected.
        batch_size: Pictures that are predicted at once.

    Returns:
        score, found, expected, agrees.

    Raises:
        InputError: There are no cases, or not as many as expected.
    """
    if not cases.is_dir():
        raise InputError(f"{cases} is not there. {REMEDY}")
    images, masks = (find_images(cases / name, masks=name == "masks") for name in ("images", "masks"))
    if len(images) != figures["cases"] or set(images) != set(masks):
        raise InputError(
            f"{cases} has {len(images)} pictures and {len(masks)} masks, expected {figures['cases']:.0f} of each. "
            f"{REMEDY}"
        )
    predictor = load_predictor(weights, RunSettings(precision="32-true", batch_size=batch_size))
    found = predictor(images[name] for name in images)
    counts = [
        count_pixels(each.mask, to_mask(open_image(masks[name]))) for name, each in zip(images, found, strict=True)
    ]
    scores = score_counts(**{name: np.array([each[name] for each in counts]) for name in counts[0]})
    means = {name: float(scores[name].mean()) for name in SCORES}
    return pd.DataFrame(
        {
            "score": SCORES,
            "found": [means[name] for name in SCORES],
            "expected": [figures[name] for name in SCORES],
            "agrees": [abs(means[name] - figures[name]) <= TOLERANCE for name in SCORES],
        }
    )
