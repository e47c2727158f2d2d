"""Confidence intervals over cases: seeded bias-corrected and accelerated (BCa) bootstrap.

The method is Efron's, "Better bootstrap confidence intervals" (1987), as implemented by SciPy. It is undefined if all
resamples lie on one side of the measured value, as happens for a few nearly equal cases. The interval is then that of
the percentiles of the resamples.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lesion_segmentation.evaluation.scores import COUNTS, score_counts

DRAWS = 9_999
"""Number of bootstrap resamples."""
AT_ONCE = 4_000_000
"""Most values that are resampled at once. All resamples of ten thousand cases together would take gigabytes."""

Interval = tuple[float, float]


def mean_interval(values: np.ndarray) -> Interval:
    """Return the 95% CI of the mean of values (N,). Equal values give width 0, and fewer than two give (nan, nan)."""
    return _interval([np.asarray(values, dtype=np.float64)], np.mean)


def mean_with_interval(values: np.ndarray, name: str = "score") -> dict[str, float]:
    """Return the mean of values (N,) as `name`, and the limits of its 95% CI as `low` and `high`."""
    low, high = mean_interval(values)
    return {name: float(np.mean(values)), "low": low, "high": high}


def pooled_interval(counts: Mapping[str, np.ndarray], metric: str) -> Interval:
    """Return the 95% CI of a pooled score; counts are tp, fp, fn and tn, (N,) each, and cases are resampled."""

    def pooled(*columns: np.ndarray, axis: int = -1) -> np.ndarray:
        return score_counts(*(column.sum(axis=axis) for column in columns))[metric]

    return _interval([np.asarray(counts[name], dtype=np.float64) for name in COUNTS], pooled)


def ratio_interval(part: np.ndarray, whole: np.ndarray) -> Interval:
    """Return the 95% CI of sum(part) / sum(whole), (N,) each; cases are resampled. The ratio is 0 if the whole is 0."""

    def ratio(part: np.ndarray, whole: np.ndarray, axis: int = -1) -> np.ndarray:
        total = whole.sum(axis=axis)
        return np.where(total > 0, part.sum(axis=axis) / np.where(total > 0, total, 1), 0.0)

    return _interval([np.asarray(column, dtype=np.float64) for column in (part, whole)], ratio)


def _interval(columns: list[np.ndarray], statistic: Callable[..., Any]) -> Interval:
    if len(columns[0]) < 2:
        return float("nan"), float("nan")
    if all(np.ptp(column) == 0 for column in columns):
        value = float(statistic(*columns))
        return value, value
    from scipy.stats import DegenerateDataWarning, bootstrap  # takes half a second

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)
        warnings.filterwarnings("ignore", "invalid value encountered", RuntimeWarning)  # NumPy's warning of the same
        batch = max(1, AT_ONCE // len(columns[0]))
        found = bootstrap(
            columns, statistic, n_resamples=DRAWS, confidence_level=0.95, method="BCa", paired=True, vectorized=True,
            batch=batch, rng=np.random.default_rng(0),
        )  # fmt: skip
    low, high = found.confidence_interval
    if np.isnan(low) or np.isnan(high):  # no resample lies below, or none above, the measured value
        low, high = np.percentile(found.bootstrap_distribution, [2.5, 97.5])
    return float(low), float(high)
