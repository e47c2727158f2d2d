"""Calibration of pixel probabilities: 70% of the pixels with a predicted probability of 0.7 should be lesion."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

BINS = 15


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
        pixels), and, repeated in each row of a subset, n (cases) and the ece and brier of summarize_reliability.
    """
    parts = []
    for subset, part in case_metrics.groupby("subset", sort=False):
        sums = np.zeros((4, BINS))
        for name in part["sample_id"]:
            p, y = probabilities[name].ravel().astype(np.float64), masks[name].ravel().astype(bool)
            sums += count_pixels_by_bin(p, y)
        table = reliability(sums)
        parts.append(table.assign(subset=subset, n=len(part), **summarize_reliability(table, sums)))
    table = pd.concat(parts, ignore_index=True)
    return table[["subset", *[name for name in table if name != "subset"]]]


def count_pixels_by_bin(probabilities: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """Sum pixels in bins with bin_low < probability <= bin_high.

    Args:
        probabilities: (N,), 0 to 1.
        lesion: Boolean, (N,).

    Returns:
        (4, BINS): the number of pixels and their sums of probability, of lesion, and of (probability - lesion)^2. The
        results of several images can be added.
    """
    bins = np.clip(np.ceil(probabilities * BINS).astype(int) - 1, 0, BINS - 1)
    weights = (None, probabilities, lesion, (probabilities - lesion) ** 2)
    return np.stack([np.bincount(bins, each, minlength=BINS).astype(np.float64) for each in weights])


def reliability(sums: np.ndarray) -> pd.DataFrame:
    """Return the reliability table of the sums (4, BINS) of count_pixels_by_bin, one row per bin."""
    edges = np.linspace(0, 1, BINS + 1)
    pixels, probability, lesion, _ = sums
    with np.errstate(invalid="ignore"):
        means = {"mean_probability": probability / pixels, "lesion_share": lesion / pixels}
    return pd.DataFrame({"bin_low": edges[:-1], "bin_high": edges[1:], "pixels": pixels.astype(int), **means})


def summarize_reliability(table: pd.DataFrame, sums: np.ndarray) -> dict[str, float]:
    """Return the expected calibration error and the Brier score; lower is better for both.

    ece is the mean of |lesion_share - mean_probability| over the bins, weighted by pixels (Naeini et al., 2015); brier
    is the mean of (probability - lesion)^2 (Brier, 1950).
    """
    gaps = (table["lesion_share"] - table["mean_probability"]).abs().fillna(0)
    return {
        "ece": float(np.average(gaps, weights=table["pixels"])),
        "brier": float(sums[3].sum() / sums[0].sum()),
    }
