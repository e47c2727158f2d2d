"""Confidence intervals over cases."""

import numpy as np
from scipy.stats import bootstrap

DRAWS = 9_999


def mean_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95% interval of the mean of values (N,), by the bias-corrected and accelerated bootstrap, seeded.

    Equal values give an interval of no width; fewer than two give (nan, nan).
    After Efron, "Better bootstrap confidence intervals" (1987).
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2:
        return float("nan"), float("nan")
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    interval = bootstrap(
        (values,), np.mean, n_resamples=DRAWS, confidence_level=0.95, method="BCa", rng=np.random.default_rng(seed)
    ).confidence_interval
    return float(interval.low), float(interval.high)
