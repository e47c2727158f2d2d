"""Scores of a single case."""

import numpy as np

from lesion_segmentation.evaluation.borders import BORDER_METRICS, score_border
from lesion_segmentation.evaluation.scores import METRICS, count_pixels, score_counts

CASE_METRICS = (*METRICS, *BORDER_METRICS)


def score_case(prediction: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Return the CASE_METRICS of two boolean arrays (H, W), as fractions.

    Raises:
        ValueError: The arrays are not boolean or differ in shape.
    """
    counts = {name: np.asarray(count) for name, count in count_pixels(prediction, mask).items()}
    return {name: float(score) for name, score in score_counts(**counts).items()} | score_border(prediction, mask)
