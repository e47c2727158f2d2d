import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import DiceMetric
from sklearn.metrics import accuracy_score, cohen_kappa_score, jaccard_score, precision_score, recall_score
from torchmetrics.functional.classification import binary_specificity

from lesion_segmentation.evaluation import score_case
from lesion_segmentation.evaluation.scores import CASE_METRICS, score_counts, undefined

masks = arrays(bool, (6, 7))


@settings(deadline=None)
@given(masks, masks)
def test_scores_agree_with_independent_libraries(prediction, mask):
    scores = score_case(prediction, mask)
    y, p = mask.ravel(), prediction.ravel()
    assert tuple(scores) == CASE_METRICS
    assert scores["accuracy"] == pytest.approx(accuracy_score(y, p), abs=1e-6)
    if prediction.any() and mask.any():
        assert scores["precision"] == pytest.approx(precision_score(y, p), abs=1e-6)
        assert scores["recall"] == pytest.approx(recall_score(y, p), abs=1e-6)
        assert scores["iou"] == pytest.approx(jaccard_score(y, p), abs=1e-6)
        dice = DiceMetric()(torch.tensor(prediction)[None, None], torch.tensor(mask)[None, None])
        assert scores["dice"] == pytest.approx(float(dice), abs=1e-6)
    if len({*y, *p}) == 2:  # otherwise scikit-learn divides zero by zero
        assert scores["kappa"] == pytest.approx(cohen_kappa_score(y, p), abs=1e-6)
    if not mask.all():
        reference = binary_specificity(torch.tensor(p).int(), torch.tensor(y).int())
        assert scores["specificity"] == pytest.approx(float(reference), abs=1e-6)


@settings(deadline=None)
@given(masks, masks)
def test_dice_of_one_case_follows_from_its_iou(prediction, mask):
    scores = score_case(prediction, mask)
    assert scores["dice"] == pytest.approx(2 * scores["iou"] / (1 + scores["iou"]))
    assert all(0 <= score <= 1 for name, score in scores.items() if name not in ("area_error", "kappa"))
    assert -1 <= scores["kappa"] <= 1


def test_scores_of_a_case_worked_by_hand():
    prediction = np.array([[1, 1, 0, 0]], bool)
    mask = np.array([[1, 0, 1, 0]], bool)
    scores = score_case(prediction, mask)
    assert {name: scores[name] for name in ("accuracy", "precision", "recall", "specificity", "iou", "dice")} == {
        "accuracy": 0.5,
        "precision": 0.5,
        "recall": 0.5,
        "specificity": 0.5,
        "iou": pytest.approx(1 / 3),
        "dice": 0.5,
    }


@pytest.mark.parametrize(("predicted", "lesion", "expected"), [(0, 0, 1.0), (1, 1, 1.0), (1, 0, 0.0), (0, 1, 0.0)])
def test_scores_of_empty_and_full_masks(predicted, lesion, expected):
    scores = score_case(np.full((4, 4), predicted, bool), np.full((4, 4), lesion, bool))
    errors = {name: scores.pop(name) for name in ("area_error", "border_error_share")}
    assert set(scores.values()) == {expected}
    assert errors["area_error"] == 1 - expected


def test_area_error_and_isic_limit_worked_by_hand():
    mask = np.zeros((1, 100), bool)
    mask[:, :50] = True
    for lesion, iou in ((80, 50 / 80), (75, 50 / 75), (25, 0.5), (50, 1.0)):
        prediction = np.arange(100)[None] < lesion
        scores = score_case(prediction, mask)
        assert scores["area_error"] == pytest.approx(abs(lesion - 50) / 50)
        assert scores["iou"] == pytest.approx(iou)
        assert scores["thresholded_jaccard"] == (0 if iou < 0.65 else scores["iou"])
    assert score_counts(13, 7, 0, 80)["thresholded_jaccard"] == 0.65  # an IoU equal to the limit counts


# Accuracy, Jaccard, thresholded Jaccard and Dice by isic-challenge-scoring 5.6.0, for an expert's mask and a
# prediction of 40 x 60 pixels, each one rectangle (top, bottom, left, right).
ISIC_CHALLENGE_SCORES = (
    ((5, 35, 10, 50), (5, 35, 10, 50), (1.0, 1.0, 1.0, 1.0)),
    ((5, 35, 10, 50), (7, 37, 13, 53), (0.8633333333, 0.7595307918, 0.7595307918, 0.8633333333)),
    ((0, 20, 0, 20), (0, 20, 0, 13), (0.9416666667, 0.65, 0.65, 0.7878787879)),
    ((0, 20, 0, 20), (0, 19, 0, 13), (0.93625, 0.6175, 0.0, 0.7635239567)),
    ((5, 35, 10, 50), (10, 34, 8, 46), (0.84, 0.6923076923, 0.6923076923, 0.8181818182)),
    ((5, 35, 10, 50), (15, 40, 20, 60), (0.5833333333, 0.375, 0.0, 0.5454545455)),
    ((5, 15, 5, 25), (20, 35, 30, 55), (0.7604166667, 0.0, 0.0, 0.0)),
    ((5, 35, 10, 50), (0, 0, 0, 0), (0.5, 0.0, 0.0, 0.0)),
    ((0, 0, 0, 0), (0, 0, 0, 0), (1.0, 1.0, 1.0, 1.0)),
    ((0, 0, 0, 0), (0, 3, 0, 4), (0.995, 0.0, 0.0, 0.0)),
    ((0, 40, 0, 60), (0, 38, 1, 60), (0.9341666667, 0.9341666667, 0.9341666667, 0.965962947)),
)
ISIC_CHALLENGE_SCORE = 0.4578186501
"""The challenge's score of these cases, the mean of their thresholded Jaccard indices."""


def test_scores_agree_with_those_of_the_isic_challenge():
    def draw(box):
        top, bottom, left, right = box
        rows, columns = np.ogrid[:40, :60]
        return (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)

    names = ("accuracy", "iou", "thresholded_jaccard", "dice")
    found = [score_case(draw(prediction), draw(mask)) for mask, prediction, _ in ISIC_CHALLENGE_SCORES]
    for scores, (_, _, expected) in zip(found, ISIC_CHALLENGE_SCORES, strict=True):
        assert [scores[name] for name in names] == pytest.approx(expected, abs=1e-9)
    assert np.mean([scores["thresholded_jaccard"] for scores in found]) == pytest.approx(ISIC_CHALLENGE_SCORE, abs=1e-9)


@given(st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_undefined_marks_ratios_of_zero_by_zero(counts):
    tp, fp, fn, tn = counts
    assert undefined(tp, fp, fn, tn) == (0 in (tp + fp, tp + fn, tn + fp))


def test_other_types_and_shapes_are_refused():
    with pytest.raises(ValueError, match="two boolean arrays of the same shape"):
        score_case(np.zeros((2, 2)), np.zeros((2, 2), bool))
    with pytest.raises(ValueError, match="two boolean arrays of the same shape"):
        score_case(np.zeros((2, 2), bool), np.zeros((2, 3), bool))
