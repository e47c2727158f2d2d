"""The expected Dice of masks whose truth is unknown."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesion_segmentation.evaluation.expected_dice import (
    LEAST_CASES,
    estimate_dice,
    expected_overlap,
    fit_expected_dice,
    fit_knots,
)

SHARES = st.floats(0, 1, allow_subnormal=False)


def sample_cases(count, seed):
    """Sample cases whose Dice is the square of the expected overlap, with noise."""
    generator = np.random.default_rng(seed)
    overlaps = generator.uniform(0.6, 1, count)
    return overlaps, np.clip(overlaps**2 + generator.normal(0, 0.03, count), 0, 1)


def test_expected_overlap_is_the_mean_dice_if_the_probabilities_are_true():
    generator = np.random.default_rng(0)
    probability = generator.beta(0.3, 0.5, (60, 80))
    mask = probability > 0.5
    truths = generator.random((300, 60, 80)) < probability
    dices = 2 * (truths & mask).sum((1, 2)) / (truths.sum((1, 2)) + mask.sum())
    assert expected_overlap(probability.sum(), probability[mask].sum(), mask.sum()) == pytest.approx(
        dices.mean(), abs=1e-3
    )
    assert expected_overlap(0.0, 0.0, 0) == 0


def test_known_map_is_recovered_and_limits_contain_80_percent_of_other_cases():
    knots = fit_knots(*sample_cases(400, 0))
    overlaps, dices = sample_cases(2000, 1)
    dice, low, high = np.array([estimate_dice(knots, overlap) for overlap in overlaps]).T
    assert np.abs(dice - overlaps**2).mean() < 0.015
    assert ((low <= dices) & (dices <= high)).mean() == pytest.approx(0.8, abs=0.08)


@settings(deadline=None)
@given(st.lists(st.tuples(SHARES, SHARES), min_size=LEAST_CASES, max_size=60), SHARES, SHARES)
def test_estimates_are_monotone_and_lie_between_their_limits(cases, one, other):
    knots = fit_knots(*zip(*cases, strict=True))
    estimates = [estimate_dice(knots, overlap) for overlap in sorted((one, other))]
    for dice, low, high in estimates:
        assert 0 <= low <= dice + 1e-6
        assert dice - 1e-6 <= high <= 1
    assert estimates[0][0] <= estimates[1][0]


def test_too_few_cases_give_no_map():
    overlaps, dices = sample_cases(LEAST_CASES, 0)
    assert fit_knots(overlaps, dices)
    assert fit_knots(overlaps[1:], dices[1:]) == ()


def test_map_is_fitted_to_masks_that_are_not_empty():
    """Probabilities of 0.9 in a half and 0.1 in the other one, of which the truth covers less and less."""
    probabilities = np.full((LEAST_CASES + 2, 10, 20), 0.1)
    probabilities[2:, :, :10] = 0.9
    masks = np.zeros(probabilities.shape, np.uint8)
    masks[:, :, :5] = 1
    overlap = expected_overlap(100.0, 90.0, 100)
    assert fit_expected_dice(probabilities, masks, 0.5, True) == ((round(overlap, 6), *3 * [round(2 / 3, 6)]),)
