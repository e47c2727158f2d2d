"""Temperatures against logits whose true one is known, and the node that keeps one."""

import numpy as np
import pytest
from scipy.special import expit

from lesion_segmentation.evaluation.temperature import apply_temperature, fit_temperature, measure_ece


def draw(temperature, views=1, seed=0):
    """Logits that are `temperature` times too sure, and pixels that are lesion as often as the right ones say."""
    generator = np.random.default_rng(seed)
    right = generator.normal(0, 2, (4, 64, 64))
    masks = (generator.random(right.shape) < expit(right)).astype(np.uint8)
    return np.repeat(temperature * right[None], views, axis=0), masks


@pytest.mark.parametrize("temperature", [0.5, 2.0, 5.0])
def test_the_temperature_of_logits_that_are_too_sure_or_not_sure_enough_is_found(temperature):
    logits, masks = draw(temperature, views=2)
    assert fit_temperature(logits, masks) == pytest.approx(temperature, rel=0.1)


def test_it_lowers_the_calibration_error():
    logits, masks = draw(3.0)
    before, after = (
        measure_ece(apply_temperature(logits, each), masks) for each in (1.0, fit_temperature(logits, masks))
    )
    assert after < 0.02 < before


def test_probabilities_that_mean_what_they_say_are_left_where_no_temperature_is_better():
    logits = np.full((1, 1, 8, 8), np.log(3.0))
    masks = np.zeros((1, 8, 8), np.uint8)
    masks.reshape(-1)[:48] = 1  # three in four, as the logits say
    assert fit_temperature(logits, masks) == 1.0
