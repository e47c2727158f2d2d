"""Scores at other thresholds, on validation or training cases."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lesion_segmentation.evaluation.scores import COUNTS, count_pixels, score_counts
from lesion_segmentation.images.masks import binarize

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))


def sweep_thresholds(
    probabilities: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], case_metrics: pd.DataFrame
) -> pd.DataFrame:
    """Compute the mean IoU and Dice over the validation cases, or else the training cases, at 19 thresholds.

    Test cases are never used, so that no threshold is chosen on them.

    Args:
        probabilities: sample_id to float (H, W), 0 to 1.
        masks: sample_id to uint8 (H, W), 0 or 1.
        case_metrics: Columns subset, sample_id and keep_largest_component.

    Returns:
        Columns subset, threshold, n, iou and dice (fractions).
    """
    subset = "validation" if (case_metrics["subset"] == "validation").any() else "train"
    part = case_metrics[case_metrics["subset"] == subset]
    keep_largest_component = bool(part["keep_largest_component"].iloc[0])
    counted: list[dict[str, float]] = []
    for name in part["sample_id"]:  # each map is read once
        probability, mask = probabilities[name], masks[name].astype(bool)
        for threshold in THRESHOLDS:
            predicted = binarize(probability, threshold, keep_largest_component)
            counted.append({"threshold": threshold, **count_pixels(predicted, mask)})
    rows = []
    for threshold, counts in pd.DataFrame(counted).groupby("threshold"):
        scores = score_counts(*(counts[name].to_numpy() for name in COUNTS))
        means = {name: float(scores[name].mean()) for name in ("iou", "dice")}
        rows.append({"subset": subset, "threshold": threshold, "n": len(part), **means})
    return pd.DataFrame(rows)
