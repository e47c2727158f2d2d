"""Scores of the diagnoses under each mask, and their paired differences from those under the experts' masks."""

from collections.abc import Mapping
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from lesion_segmentation.diagnosis.settings import MASKS
from lesion_segmentation.evaluation.intervals import Columns, Interval, bootstrap_intervals

METRICS = ("balanced_accuracy", "auc")
TRUTH, PREDICTED, DIFFERENCE = "truth", "predicted", "difference"


def summarize_diagnosis(diagnosis_cases: pd.DataFrame) -> pd.DataFrame:
    """Score the table of `diagnose_cases`, pooled over the folds.

    `balanced_accuracy` is the mean recall of the classes, and `auc` the mean over the classes of the area under the ROC
    curve of the class against the rest. CIs are those over cases.

    Returns:
        Columns task, features, mask, metric, n (cases), folds (their number), score with the limits low and high of its
        95% CI, mean_of_folds and deviation_of_folds (mean and sample standard deviation of the folds' scores), and
        difference (score minus that under the experts' masks) with difference_low and difference_high.
    """
    rows = []
    for (task, features), part in diagnosis_cases.groupby(["task", "features"], sort=False):
        columns, folds = _pair_masks(part)
        compute = partial(_score, count=part["truth"].nunique())
        scores, intervals = compute(columns), bootstrap_intervals(columns, compute)
        of_folds = [compute({name: values[folds == fold] for name, values in columns.items()}) for fold in set(folds)]
        for mask, metric in product(MASKS, METRICS):
            in_folds = [float(each[mask, metric]) for each in of_folds]
            row = {"task": task, "features": features, "mask": mask, "metric": metric, "n": len(folds),
                   "folds": len(of_folds), **_join(scores, intervals, (mask, metric), "score", ""),
                   "mean_of_folds": np.mean(in_folds), "deviation_of_folds": np.std(in_folds, ddof=1)}  # fmt: skip
            rows.append(row | _join(scores, intervals, (mask, metric, DIFFERENCE), DIFFERENCE, "difference_"))
    return pd.DataFrame(rows)


def _join(scores: Columns, intervals: Mapping[Any, Interval], key: Any, name: str, prefix: str) -> dict[str, float]:
    """Return a score and its limits as cells of a row; empty for the masks that the others are compared with."""
    if key not in scores:
        return {}
    low, high = intervals[key]
    return {name: float(scores[key]), f"{prefix}low": low, f"{prefix}high": high}


def _pair_masks(part: pd.DataFrame) -> tuple[Columns, np.ndarray]:
    """Return the columns of `_score` and the folds, each (N,), in the order of case_id."""
    classes = sorted(part["truth"].unique())
    numbers = part[[TRUTH, PREDICTED]].apply(lambda names: names.map(classes.index))
    ordered = part.assign(**numbers).sort_values("case_id")
    columns: dict[Any, np.ndarray] = {}
    for mask, table in ordered.groupby("mask"):
        columns |= {TRUTH: table[TRUTH].to_numpy(), (mask, PREDICTED): table[PREDICTED].to_numpy()}
        columns |= {(mask, index): table[f"score_{name}"].to_numpy() for index, name in enumerate(classes)}
    return columns, table["fold"].to_numpy()


def _score(columns: Columns, count: int) -> Columns:
    """Return the METRICS (...) of each mask, and the differences, from columns (..., N) with `count` classes.

    A class that does not occur in a resample is left out of the mean recall and has an area of 0.5.
    """
    belongs = [columns[TRUTH] == index for index in range(count)]
    scores: dict[Any, np.ndarray] = {}
    for mask in MASKS:
        hits = [columns[mask, PREDICTED] == index for index in range(count)]
        with np.errstate(invalid="ignore", divide="ignore"):
            recalls = [np.sum(a & b, axis=-1) / np.sum(b, axis=-1) for a, b in zip(hits, belongs, strict=True)]
            areas = [_area_under_roc(columns[mask, index], belongs[index]) for index in range(count)]
        scores[mask, "balanced_accuracy"] = np.nanmean(recalls, axis=0)
        scores[mask, "auc"] = np.nan_to_num(areas, nan=0.5).mean(axis=0)
    first, *others = MASKS
    differences = {(mask, name, DIFFERENCE): scores[mask, name] - scores[first, name]
                   for mask, name in product(others, METRICS)}  # fmt: skip
    return scores | differences


def _area_under_roc(outputs: np.ndarray, belongs: np.ndarray) -> np.ndarray:
    """Return the probability (...) that a case of the class has a higher output (..., N) than another; ties count half.

    This is Mann and Whitney's statistic, from ranks.
    """
    from scipy.stats import rankdata

    positive = belongs.sum(axis=-1)
    negative = belongs.shape[-1] - positive
    ranks = np.where(belongs, rankdata(outputs, axis=-1), 0).sum(axis=-1)
    area: np.ndarray = (ranks - positive * (positive + 1) / 2) / (positive * negative)
    return area
