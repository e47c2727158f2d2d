"""Confidence intervals over cases: seeded bias-corrected and accelerated (BCa) bootstrap.

The method is Efron's, "Better bootstrap confidence intervals" (1987), as implemented by SciPy. It is undefined if all
resamples lie on one side of the measured value, as happens for a few nearly equal cases. The interval is then that of
the percentiles of the resamples. All scores of the same cases are computed from the same resamples.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

DRAWS = 9_999
"""Number of bootstrap resamples."""
AT_ONCE = 4_000_000
"""Most values that are resampled at once. All resamples of ten thousand cases together would take gigabytes."""

Interval = tuple[float, float]
Columns = Mapping[Any, np.ndarray]


def mean_interval(values: np.ndarray) -> Interval:
    """Return the 95% CI of the mean of values (N,). Equal values give width 0, and fewer than two give (nan, nan)."""
    return bootstrap_intervals({"value": values}, _means)["value"]


def mean_rows(table: pd.DataFrame, name: str = "score") -> list[dict[str, Any]]:
    """Return a row for each column of a table of cases: metric, n, the mean as `name`, and low and high of its CI."""
    columns = {metric: table[metric].to_numpy() for metric in table}
    return [
        {"metric": metric, "n": len(table), name: float(columns[metric].mean()), "low": low, "high": high}
        for metric, (low, high) in bootstrap_intervals(columns, _means).items()
    ]


def _means(columns: Columns) -> dict[str, np.ndarray]:
    """Return the mean (...) of each column (..., N)."""
    return {name: np.mean(column, axis=-1) for name, column in columns.items()}


def bootstrap_intervals(columns: Columns, compute: Callable[[Columns], Columns]) -> dict[Any, Interval]:
    """Return the 95% CI of each score that `compute` returns; cases are resampled.

    Args:
        columns: Values (N,) of N cases.
        compute: Computes scores (...) from columns (..., N).
    """
    columns = {name: np.asarray(column, dtype=np.float64) for name, column in columns.items()}
    scores, size = compute(columns), len(next(iter(columns.values())))
    if size < 2:
        return dict.fromkeys(scores, (float("nan"), float("nan")))
    if all(np.ptp(column) == 0 for column in columns.values()):
        return {name: (float(score), float(score)) for name, score in scores.items()}

    def resample(cases: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.stack(list(compute({name: column.take(cases) for name, column in columns.items()}).values()))

    from scipy.stats import DegenerateDataWarning, bootstrap  # takes half a second

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)
        warnings.filterwarnings("ignore", "invalid value encountered", RuntimeWarning)  # NumPy's warning of the same
        batch = max(1, AT_ONCE // (size * len(columns)))
        found = bootstrap(
            [np.arange(size)], resample, n_resamples=DRAWS, confidence_level=0.95, method="BCa", vectorized=True,
            batch=batch, rng=np.random.default_rng(0),
        )  # fmt: skip
    limits = np.stack(found.confidence_interval)
    # In an undefined interval, no resample lies below, or none above, the measured value.
    percentiles = np.percentile(found.bootstrap_distribution, [2.5, 97.5], axis=-1)
    limits = np.where(np.isnan(limits).any(axis=0), percentiles, limits)
    return {name: (float(low), float(high)) for name, (low, high) in zip(scores, limits.T, strict=True)}
