"""What another threshold would have given, on cases that may be looked at."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lesion_segmentation.evaluation.scores import COUNTS, count_pixels, score_counts
from lesion_segmentation.images.masks import binarize

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))


def sweep_thresholds(
    probabilities: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], case_metrics: pd.DataFrame
) -> pd.DataFrame:
    """Mean IoU and Dice over the validation cases at 19 thresholds; over the training cases where there are none.

    Test cases are never used: a threshold read off them would be chosen on them.

    Returns:
        subset, threshold, n, iou, dice (fractions).
    """
    subset = "validation" if (case_metrics["subset"] == "validation").any() else "train"
    part = case_metrics[case_metrics["subset"] == subset]
    names, single = list(part["sample_id"]), bool(part["keep_largest_component"].iloc[0])
    found: list[dict[str, float]] = []
    for name in names:  # each map is read once
        probability, mask = probabilities[name], masks[name].astype(bool)
        found += [
            {"threshold": threshold, **count_pixels(binarize(probability, threshold, single), mask)}
            for threshold in THRESHOLDS
        ]
    rows = []
    for threshold, counts in pd.DataFrame(found).groupby("threshold"):
        scores = score_counts(*(counts[name].to_numpy() for name in COUNTS))
        means = {name: float(scores[name].mean()) for name in ("iou", "dice")}
        rows.append({"subset": subset, "threshold": threshold, "n": len(names), **means})
    return pd.DataFrame(rows)
