"""Calibration of pixel probabilities: 70% of the pixels with a predicted probability of 0.7 should be lesion.

Temperature scaling calibrates them; `sweep_thresholds` scores the masks at other thresholds than 0.5.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lesion_segmentation.evaluation.scores import COUNTS, count_pixels, score_counts
from lesion_segmentation.images.masks import binarize

BINS = 15
TEMPERATURES = (0.25, 8.0)
"""Range in which the temperature is searched."""
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))


def calibrate(
    probabilities: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], case_metrics: pd.DataFrame
) -> pd.DataFrame:
    """Compute the reliability of each subset over its pooled pixels, in 15 bins of equal width.

    Args:
        probabilities: sample_id to float (H, W), 0 to 1.
        masks: sample_id to uint8 (H, W), 0 or 1.
        case_metrics: Columns subset and sample_id.

    Returns:
        Columns subset, bin_low, bin_high, pixels, mean_probability and lesion_share (0 to 1; empty for bins without
        pixels), and, repeated in each row of a subset, n (cases) and the ece and brier of `reliability`.
    """
    parts = []
    for subset, part in case_metrics.groupby("subset", sort=False):
        sums = np.zeros((4, BINS))
        for name in part["sample_id"]:
            sums += count_pixels_by_bin(probabilities[name].ravel().astype(np.float64), masks[name].ravel())
        table = reliability(sums)
        table.insert(0, "subset", subset)
        table.insert(table.columns.get_loc("ece"), "n", len(part))
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def count_pixels_by_bin(probabilities: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """Sum pixels with probabilities (N,) and truth (N,), 0 or 1, in bins with bin_low < probability <= bin_high.

    The result (4, BINS) has the number of pixels and their sums of probability, of lesion, and of
    (probability - lesion)^2. The results of several images can be added.
    """
    lesion = lesion.astype(bool)
    bins = np.clip(np.ceil(probabilities * BINS).astype(int) - 1, 0, BINS - 1)
    weights = (None, probabilities, lesion, (probabilities - lesion) ** 2)
    return np.stack([np.bincount(bins, each, minlength=BINS).astype(np.float64) for each in weights])


def reliability(sums: np.ndarray) -> pd.DataFrame:
    """Return the reliability table of the sums (4, BINS) of count_pixels_by_bin, one row per bin.

    Each row repeats two scores of all pixels; lower is better for both. ece, the expected calibration error, is the
    mean of |lesion_share - mean_probability| over the bins, weighted by pixels (Naeini et al., 2015); brier is the mean
    of (probability - lesion)^2 (Brier, 1950).
    """
    edges = np.linspace(0, 1, BINS + 1)
    pixels, probability, lesion, squares = sums
    with np.errstate(invalid="ignore"):
        means = {"mean_probability": probability / pixels, "lesion_share": lesion / pixels}
    table = pd.DataFrame({"bin_low": edges[:-1], "bin_high": edges[1:], "pixels": pixels.astype(int), **means})
    gaps = (table["lesion_share"] - table["mean_probability"]).abs().fillna(0)
    return table.assign(ece=np.average(gaps, weights=pixels), brier=squares.sum() / pixels.sum())


def fit_temperature(logits: np.ndarray, masks: np.ndarray) -> float:
    """Return the temperature with the lowest binary cross-entropy, or 1 unless it also lowers the calibration error.

    The method is that of Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks" (2017), applied to
    the mean of the sigmoids of several views. The logits are (views, N, H, W), and the masks (N, H, W) are 0 or 1. All
    pixels have the same weight.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import xlogy

    def cross_entropy(log_temperature: float) -> float:
        p = apply_temperature(logits, float(np.exp(log_temperature)))
        return float(-(xlogy(masks, p) + xlogy(1 - masks, 1 - p)).mean())

    found = minimize_scalar(cross_entropy, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 0.01})
    temperature = float(np.exp(found.x))
    before, after = (measure_ece(apply_temperature(logits, each), masks) for each in (1.0, temperature))
    return round(temperature, 3) if after < before else 1.0


def apply_temperature(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities (N, H, W) of logits (views, N, H, W), clipped to [1e-7, 1 - 1e-7]."""
    from scipy.special import expit

    p = sum(expit(view.astype(np.float32) / np.float32(temperature)) for view in logits) / len(logits)
    return np.clip(p, 1e-7, 1 - 1e-7)


def measure_ece(probabilities: np.ndarray, masks: np.ndarray) -> float:
    """Return the expected calibration error of all pixels, pooled."""
    sums = count_pixels_by_bin(probabilities.ravel(), masks.ravel())
    return float(reliability(sums)["ece"].iloc[0])


def sweep_thresholds(
    probabilities: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], case_metrics: pd.DataFrame
) -> pd.DataFrame:
    """Compute the mean IoU and Dice over the validation cases, or else the training cases, at 19 thresholds.

    Test cases are never used, so that no threshold is chosen on them. The arguments are those of `calibrate`;
    case_metrics has a column keep_largest_component, too.

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
