"""Confidence intervals over cases: the bias-corrected and accelerated bootstrap, seeded.

After Efron, "Better bootstrap confidence intervals" (1987), by SciPy. Where that is not defined, since all draws lie on
one side of what was measured (a handful of nearly equal cases), the percentiles of the draws are given.
"""

import warnings
from collections.abc import Callable, Mapping

import numpy as np

from lesion_segmentation.evaluation.scores import COUNTS, score_counts

DRAWS = 9_999
"""Default number of bootstrap draws."""
AT_ONCE = 4_000_000
"""Values that are drawn at once: all draws of some hundred cases; of ten thousand all at once would take gigabytes."""

Interval = tuple[float, float]


def mean_interval(values: np.ndarray, seed: int = 0, draws: int | None = None) -> Interval:
    """95% interval of the mean of values (N,), one of each case.

    Equal values give an interval of no width; fewer than two give (nan, nan).
    """
    return _interval([np.asarray(values, dtype=np.float64)], np.mean, seed, draws)


def mean_with_interval(values: np.ndarray, name: str = "score") -> dict[str, float]:
    """The mean of values (N,), under `name`, and its 95% interval, under `low` and `high`."""
    low, high = mean_interval(values)
    return {name: float(np.mean(values)), "low": low, "high": high}


def pooled_interval(counts: Mapping[str, np.ndarray], metric: str, seed: int = 0, draws: int | None = None) -> Interval:
    """95% interval of a score of the pooled pixels; counts are tp, fp, fn and tn, (N,) each, drawn case by case."""

    def pooled(*columns: np.ndarray, axis: int = -1) -> np.ndarray:
        return score_counts(*(column.sum(axis=axis) for column in columns))[metric]

    return _interval([np.asarray(counts[name], dtype=np.float64) for name in COUNTS], pooled, seed, draws)


def ratio_interval(part: np.ndarray, whole: np.ndarray, seed: int = 0, draws: int | None = None) -> Interval:
    """95% interval of sum(part) / sum(whole), (N,) each, drawn case by case; 0 where the whole is 0."""

    def ratio(part: np.ndarray, whole: np.ndarray, axis: int = -1) -> np.ndarray:
        total = whole.sum(axis=axis)
        return np.where(total > 0, part.sum(axis=axis) / np.where(total > 0, total, 1), 0.0)

    return _interval([np.asarray(column, dtype=np.float64) for column in (part, whole)], ratio, seed, draws)


def _interval(
    columns: list[np.ndarray], statistic: Callable[..., np.ndarray], seed: int, draws: int | None
) -> Interval:
    if len(columns[0]) < 2:
        return float("nan"), float("nan")
    if all(np.ptp(column) == 0 for column in columns):
        value = float(statistic(*columns))
        return value, value
    from scipy.stats import DegenerateDataWarning, bootstrap  # takes half a second

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)
        warnings.filterwarnings("ignore", "invalid value encountered", RuntimeWarning)  # the same, in NumPy's words
        found = bootstrap(
            columns,
            statistic,
            n_resamples=draws or DRAWS,
            confidence_level=0.95,
            method="BCa",
            paired=True,
            vectorized=True,
            batch=max(1, AT_ONCE // len(columns[0])),
            rng=np.random.default_rng(seed),
        )
    low, high = found.confidence_interval
    if np.isnan(low) or np.isnan(high):  # no draw lies below, or none above, what was measured
        low, high = np.percentile(found.bootstrap_distribution, [2.5, 97.5])
    return float(low), float(high)
