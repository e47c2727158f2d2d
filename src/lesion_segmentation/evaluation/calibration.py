"""Whether probabilities mean what they say: of the pixels given 70%, 70% should be lesion."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

BINS = 15


def calibrate(
    probabilities: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], case_metrics: pd.DataFrame
) -> pd.DataFrame:
    """The reliability of the pixels of each subset, pooled, in 15 bins of equal width.

    Returns:
        subset, bin_low, bin_high, pixels, mean_probability and lesion_share (0 to 1; empty where there are no
        pixels), and, the same in each row of a subset, n (cases), ece and brier as summarise_reliability gives them.
    """
    parts = []
    for subset, part in case_metrics.groupby("subset", sort=False):
        p = np.concatenate([probabilities[name].ravel() for name in part["sample_id"]]).astype(np.float64)
        y = np.concatenate([masks[name].ravel() for name in part["sample_id"]]).astype(bool)
        table = reliability(p, y)
        parts.append(table.assign(subset=subset, n=len(part), **summarise_reliability(table, p, y)))
    table = pd.concat(parts, ignore_index=True)
    return table[["subset", *[name for name in table if name != "subset"]]]


def reliability(probabilities: np.ndarray, lesion: np.ndarray) -> pd.DataFrame:
    """Flat probabilities (N,) and what the pixels are (N,), in bins: bin_low < probability <= bin_high."""
    edges = np.linspace(0, 1, BINS + 1)
    bins = np.clip(np.ceil(probabilities * BINS).astype(int) - 1, 0, BINS - 1)
    pixels = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(bins, probabilities, minlength=BINS) / pixels
        share = np.bincount(bins, lesion, minlength=BINS) / pixels
    return pd.DataFrame(
        {
            "bin_low": edges[:-1],
            "bin_high": edges[1:],
            "pixels": pixels,
            "mean_probability": mean,
            "lesion_share": share,
        }
    )


def summarise_reliability(table: pd.DataFrame, probabilities: np.ndarray, lesion: np.ndarray) -> dict[str, float]:
    """Two figures.

    ece: the mean of |lesion_share - mean_probability| over the bins, weighted by pixels (Naeini et al., 2015);
    brier: the mean of (probability - lesion)^2 (Brier, 1950). Both are better when small.
    """
    gaps = (table["lesion_share"] - table["mean_probability"]).abs().fillna(0)
    return {
        "ece": float(np.average(gaps, weights=table["pixels"])),
        "brier": float(np.mean((probabilities - lesion) ** 2)),
    }
