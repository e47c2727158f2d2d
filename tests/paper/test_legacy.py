import numpy as np
import pytest

from lesion_segmentation.paper import legacy_scores


def test_rows_without_lesion_score_one():
    assert legacy_scores(np.zeros((2, 4, 256)), np.zeros((2, 4, 256)))["iou"] == 1


def test_legacy_scores_of_a_case_worked_by_hand():
    """One row of 256 pixels, half of them lesion, with a probability of 0.5 everywhere."""
    mask = np.zeros((1, 1, 256))
    mask[..., :128] = 1
    scores = legacy_scores(np.full((1, 1, 256), 0.5), mask)
    overlap, squares = 64, 128 + 64
    assert scores["iou"] == pytest.approx((overlap + 100) / (squares - overlap + 100))
    assert scores["dice"] == pytest.approx((2 * overlap + 100) / (128 + 128 + 100))
    assert scores["accuracy"] == 0.5
    assert scores["precision"] == scores["recall"] == 0


def test_batches_are_weighted_by_size():
    generator = np.random.default_rng(0)
    p, y = generator.random((5, 3, 8)), generator.random((5, 3, 8)) > 0.5
    whole = legacy_scores(p, y, batch_size=2)
    parts = [legacy_scores(p[i : i + 2], y[i : i + 2]) for i in (0, 2, 4)]
    for name in whole:
        assert whole[name] == pytest.approx((2 * parts[0][name] + 2 * parts[1][name] + parts[2][name]) / 5)


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match="expected the same shape"):
        legacy_scores(np.zeros((2, 3, 4)), np.zeros((2, 3, 5)))
