from types import SimpleNamespace

import numpy as np
import pytest

from lesion_segmentation.evaluation import intervals
from lesion_segmentation.evaluation.intervals import bootstrap_intervals, mean_interval
from lesion_segmentation.evaluation.scores import COUNTS, score_counts


def pooled_interval(counts, metric):
    """Return the interval of a score of the pixels of all cases."""
    return bootstrap_intervals(counts, lambda columns: score_counts(*(columns[name].sum(-1) for name in COUNTS)))[
        metric
    ]


pytestmark = pytest.mark.published


def test_published_intervals_have_9999_resamples():
    assert intervals.DRAWS == 9_999


def test_intervals_of_few_or_equal_values():
    assert mean_interval(np.full(5, 0.25)) == (0.25, 0.25)
    assert np.isnan(mean_interval(np.array([0.5]))).all()


def test_intervals_are_seeded_and_contain_the_mean():
    values = np.random.default_rng(1).normal(0.9, 0.05, 50)
    low, high = mean_interval(values)
    assert (low, high) == mean_interval(values)
    assert low < values.mean() < high
    # For normal values it is close to the normal approximation.
    assert high - low == pytest.approx(2 * 1.96 * values.std(ddof=1) / np.sqrt(50), rel=0.1)


def test_interval_covers_a_known_mean_at_its_nominal_rate(monkeypatch):
    """Sample 50 cases 2,000 times from Beta(18, 2), whose mean is 0.9."""
    monkeypatch.setattr(intervals, "DRAWS", 999)
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        low, high = mean_interval(generator.beta(18, 2, 50))
        covered += low <= 0.9 <= high
    assert 0.93 <= covered / 2000 <= 0.97


def test_pooled_intervals_resample_cases_not_pixels():
    """All cases have one size, so the pooled accuracy is the mean over cases and the intervals agree."""
    generator = np.random.default_rng(0)
    right = generator.integers(800, 1000, 40)
    counts = {"tp": right // 2, "tn": right - right // 2, "fp": 1000 - right, "fn": np.zeros(40, int)}
    low, high = pooled_interval(counts, "accuracy")
    assert (low, high) == pytest.approx(mean_interval(right / 1000), abs=1e-3)
    dice = float(score_counts(*(counts[name].sum() for name in COUNTS))["dice"])
    assert pooled_interval(counts, "dice")[0] < dice < pooled_interval(counts, "dice")[1]


def test_percentiles_replace_an_undefined_interval(monkeypatch):
    found = SimpleNamespace(
        confidence_interval=(np.array([np.nan]), np.array([np.nan])), bootstrap_distribution=np.arange(1001.0)[None]
    )
    monkeypatch.setattr("scipy.stats.bootstrap", lambda *_, **__: found)
    assert mean_interval(np.array([0.0, 1.0])) == (25, 975)


def test_resampling_in_batches_changes_nothing(monkeypatch):
    values = np.random.default_rng(1).random(50)
    counts = {name: np.random.default_rng(number).integers(1, 99, 50) for number, name in enumerate(COUNTS)}
    whole = [*mean_interval(values), *pooled_interval(counts, "dice")]
    monkeypatch.setattr(intervals, "AT_ONCE", 50 * 64)
    assert [*mean_interval(values), *pooled_interval(counts, "dice")] == pytest.approx(whole, rel=1e-12)
