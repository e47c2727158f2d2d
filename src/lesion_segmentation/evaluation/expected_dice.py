"""Estimate of the Dice of a predicted mask whose truth is unknown.

The probabilities themselves say what to expect: `expected_overlap`. Networks are too sure of themselves, so a monotone
map from it to the Dice is fitted to validation cases.
"""

from collections.abc import Sequence

import numpy as np

from lesion_segmentation.images.masks import binarize

Knot = tuple[float, float, float, float]
"""An expected overlap, the mean Dice of masks with this overlap, and the limits between which 80% of them lie."""
LEAST_CASES = 20
"""Fewest validation cases from which the map is fitted."""


def expected_overlap(lesion: float, inside: float, area: int) -> float:
    """Return the Dice that a mask has on average if the probabilities are true, as a ratio of means, 0 to 1.

    Args:
        lesion: Sum of the probabilities of all pixels.
        inside: Sum of the probabilities of the mask's pixels.
        area: Number of the mask's pixels.
    """
    return 2 * inside / (lesion + area) if area else 0.0


def fit_expected_dice(
    probabilities: np.ndarray, masks: np.ndarray, threshold: float, keep_largest_component: bool
) -> tuple[Knot, ...]:
    """Fit the map to N validation cases: probabilities (N, H, W), 0 to 1, and true masks (N, H, W), 0 or 1."""
    overlaps, dices = [], []
    for probability, mask in zip(probabilities, masks.astype(bool), strict=True):
        predicted = binarize(probability, threshold, keep_largest_component)
        area, inside = int(predicted.sum()), float(probability[predicted].sum(dtype=np.float64))
        if area and np.isfinite(inside):
            overlaps.append(expected_overlap(float(probability.sum(dtype=np.float64)), inside, area))
            dices.append(2 * int((predicted & mask).sum()) / (area + int(mask.sum())))
    return fit_knots(overlaps, dices)


def fit_knots(overlaps: Sequence[float], dices: Sequence[float]) -> tuple[Knot, ...]:
    """Fit the map from expected overlaps (N,) to the Dice (N,) by isotonic regression.

    The limits are the 10th and the 90th percentile of the errors of the nearest fifth of the cases, at least
    LEAST_CASES, in a five-fold cross-validation, also made monotone. There are no knots if there are fewer than
    LEAST_CASES cases.
    """
    if len(overlaps) < LEAST_CASES:
        return ()
    from sklearn.isotonic import IsotonicRegression  # takes a second
    from sklearn.model_selection import KFold, cross_val_predict

    order = np.argsort(overlaps, kind="stable")
    x, y = np.asarray(overlaps, dtype=float)[order], np.asarray(dices, dtype=float)[order]
    fit = IsotonicRegression(out_of_bounds="clip").fit(x, y)
    unfitted = cross_val_predict(fit, x[:, None], y, cv=KFold(5, shuffle=True, random_state=0))
    count = max(LEAST_CASES, len(x) // 5)
    starts = np.clip(np.arange(len(x)) - count // 2, 0, len(x) - count)
    errors = (y - unfitted)[starts[:, None] + np.arange(count)]
    knots = fit.X_thresholds_
    dice = fit.predict(knots)
    low, high = (
        IsotonicRegression(out_of_bounds="clip").fit(x, fit.predict(x) + limit).predict(knots)
        for limit in np.quantile(errors, [0.1, 0.9], axis=1)
    )
    low, high = np.clip(low, 0, dice), np.clip(high, dice, 1)
    table = np.stack([knots, dice, low, high], axis=1)
    return tuple(tuple(round(float(value), 6) for value in knot) for knot in table)  # type: ignore[misc]


def estimate_dice(knots: Sequence[Knot], overlap: float) -> tuple[float, float, float]:
    """Return the expected Dice of a mask and its limits, interpolated between the knots."""
    x, *values = zip(*knots, strict=True)
    dice, low, high = (float(np.interp(overlap, x, each)) for each in values)
    return dice, low, high
