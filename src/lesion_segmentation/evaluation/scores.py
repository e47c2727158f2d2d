"""Scores of a single case, and the formulas of all pixel-wise scores over tp, fp, fn and tn."""

import numpy as np
import numpy.typing as npt

from lesion_segmentation.evaluation.borders import BORDER_METRICS, score_border

COUNTS = ("tp", "fp", "fn", "tn")
METRICS = ("accuracy", "precision", "recall", "specificity", "iou", "dice", "kappa", "thresholded_jaccard",
           "area_error")  # fmt: skip
CASE_METRICS = (*METRICS, *BORDER_METRICS)
ISIC_LIMIT = 0.65
"""IoU below which a case counts as failed in the ISIC challenges, chosen from the agreement between annotators."""


def score_case(prediction: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Return the CASE_METRICS of two boolean arrays (H, W), as fractions. Errors are those of `count_pixels`."""
    scores = score_counts(**count_pixels(prediction, mask))
    return {name: float(score) for name, score in scores.items()} | score_border(prediction, mask)


def count_pixels(prediction: np.ndarray, mask: np.ndarray) -> dict[str, int]:
    """Return tp, fp, fn and tn of two boolean arrays (H, W). Another type or different shapes raise a ValueError."""
    prediction, mask = np.asarray(prediction), np.asarray(mask)
    if prediction.shape != mask.shape or prediction.dtype != bool or mask.dtype != bool:
        raise ValueError(
            f"prediction is {prediction.dtype} {prediction.shape}, mask {mask.dtype} {mask.shape}; "
            "expected two boolean arrays of the same shape"
        )
    found = (prediction & mask, prediction & ~mask, ~prediction & mask, ~prediction & ~mask)
    return {name: int(pixels.sum()) for name, pixels in zip(COUNTS, found, strict=True)}


def score_counts(tp: npt.ArrayLike, fp: npt.ArrayLike, fn: npt.ArrayLike, tn: npt.ArrayLike) -> dict[str, np.ndarray]:
    """Return the METRICS as fractions, from pixel counts of one common shape.

    - accuracy: (tp + tn) / (tp + fp + fn + tn)
    - precision: tp / (tp + fp)
    - recall: tp / (tp + fn)
    - specificity: tn / (tn + fp)
    - iou: tp / (tp + fp + fn)
    - dice: 2 tp / (2 tp + fp + fn)
    - kappa: (p - e) / (1 - e), -1 to 1, with the accuracy p and the accuracy e expected of two independent annotators
      with the same shares of lesion (Cohen, "A coefficient of agreement for nominal scales", 1960)
    - thresholded_jaccard: the iou, or 0 if it is below 0.65 (Codella et al., ISIC 2018)
    - area_error: |fp - fn| / (tp + fn); lower is better, and it may exceed 1

    A ratio of 0/0 is 1 if prediction and mask are equal (fp = fn = 0), else 0. For area_error it is 0, else 1.
    """
    tp, fp, fn, tn = (np.asarray(count, dtype=np.float64) for count in (tp, fp, fn, tn))
    equal = (fp == 0) & (fn == 0)

    def ratio(part: np.ndarray, whole: np.ndarray, otherwise: np.ndarray = equal) -> np.ndarray:
        return np.where(whole > 0, part / np.where(whole > 0, whole, 1), otherwise)

    iou = ratio(tp, tp + fp + fn)
    total = tp + fp + fn + tn
    by_chance = (tp + fp) * (tp + fn) + (fn + tn) * (fp + tn)  # times the square of the total
    return {
        "accuracy": ratio(tp + tn, total),
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "specificity": ratio(tn, tn + fp),
        "iou": iou,
        "dice": ratio(2 * tp, 2 * tp + fp + fn),
        "kappa": ratio(total * (tp + tn) - by_chance, total**2 - by_chance),
        "thresholded_jaccard": np.where(iou < ISIC_LIMIT, 0.0, iou),
        "area_error": ratio(np.abs(fp - fn), tp + fn, ~equal),
    }


def undefined(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray) -> np.ndarray:
    """Return a boolean array that is true where at least one score is a ratio of 0/0."""
    return (tp + fp == 0) | (tp + fn == 0) | (tn + fp == 0)
