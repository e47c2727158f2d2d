"""Tables of scores: one row per case, means with 95% CIs, and the paper's Table II."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from lesion_segmentation.core.display_names import name_source
from lesion_segmentation.evaluation.intervals import bootstrap_intervals
from lesion_segmentation.evaluation.scores import (
    CASE_METRICS,
    COUNTS,
    count_pixels,
    score_case,
    score_counts,
    undefined,
)
from lesion_segmentation.images.masks import binarize

SUBSETS = ("train", "validation", "test")
SCORES = ("accuracy", "precision", "recall", "iou", "dice")
TABLE_METRICS = (*SCORES, "loss")
LABELS = ("source", "test_time_augmentation", "keep_largest_component", "protocol", "threshold")
"""Columns of every table of scores that describe its cases and how they were predicted."""
NETWORK, ENHANCEMENT = "network", "enhancement"
"""Values of threshold_role: the network's own threshold, or the lower one of the paper's enhancement."""
EPOCH_STEP = 10


def score_cases(
    probabilities: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    scored: pd.DataFrame,
    threshold: float,
    test_time_augmentation: str,
    keep_largest_component: bool = False,
) -> pd.DataFrame:
    """Score each sample that has a probability map.

    Args:
        probabilities: Probability maps by sample_id, float (H, W), 0 to 1.
        masks: True masks by sample_id, uint8 (H, W), 0 or 1.
        scored: The samples, with columns sample_id, case_id, subset, protocol and source.
        threshold: Pixels with a higher probability are lesion.
        test_time_augmentation: The value with which the maps were predicted, repeated in every row.
        keep_largest_component: As in `binarize`.

    Returns:
        Columns subset, case_id, sample_id, the CASE_METRICS, loss (mean binary cross-entropy over the pixels), tp, fp,
        fn, tn, mask_hash (equal for runs that were scored against the same mask) and the LABELS; sorted by subset
        (train, validation, test) and case.
    """
    rows = []
    for row in scored[scored["sample_id"].isin(list(probabilities))].itertuples():
        probability, mask = probabilities[row.sample_id], masks[row.sample_id].astype(bool)
        predicted = binarize(probability, threshold, keep_largest_component)
        rows.append(
            {
                "subset": row.subset,
                "case_id": row.case_id,
                "sample_id": row.sample_id,
                **score_case(predicted, mask),
                "loss": binary_cross_entropy(probability, mask),
                **count_pixels(predicted, mask),
                "mask_hash": hash_mask(mask),
                "source": row.source,
                "test_time_augmentation": test_time_augmentation,
                "keep_largest_component": keep_largest_component,
                "protocol": row.protocol,
                "threshold": threshold,
            }
        )
    table = pd.DataFrame(rows)
    table["subset"] = pd.Categorical(table["subset"], SUBSETS, ordered=True)
    return table.sort_values(["subset", "case_id", "sample_id"], ignore_index=True).astype({"subset": str})


def hash_mask(mask: np.ndarray) -> str:
    """Return a digest of the shape and the pixels of a boolean mask (H, W)."""
    return hashlib.sha256(f"{mask.shape}".encode() + mask.tobytes()).hexdigest()[:16]


def binary_cross_entropy(probabilities: np.ndarray, mask: np.ndarray) -> float:
    """Return the mean cross-entropy of pixels in nats, with probabilities clipped to [1e-7, 1 - 1e-7] as in Keras."""
    p = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-7, 1 - 1e-7)
    return float(-np.where(mask, np.log(p), np.log1p(-p)).mean())


def summarize_cases(case_metrics: pd.DataFrame, case_metrics_enhanced: pd.DataFrame) -> pd.DataFrame:
    """Compute Table II with both averages, from the tables of `score_cases` at NETWORK's and ENHANCEMENT's threshold.

    Returns:
        Columns subset, average ("per_image": mean over cases; "pooled": score of the pixels of all cases), the
        TABLE_METRICS as fractions, n (cases), n_undefined (cases in which a score is 0/0), the LABELS and
        threshold_role (NETWORK or ENHANCEMENT).
    """
    rows = []
    for part, counts, common in _parts(case_metrics, case_metrics_enhanced):
        # All images have one size, so the mean loss over cases is also the mean over pixels.
        common["loss"] = part["loss"].mean()
        rows.append({"average": "per_image", **part[list(SCORES)].mean(), **common})
        pooled = {name: float(score) for name, score in _score_pooled(counts).items()}
        rows.append({"average": "pooled", **pooled, **common})
    columns = ["subset", "average", *TABLE_METRICS, "n", "n_undefined", *LABELS, "threshold_role"]
    return pd.DataFrame(rows)[columns]


def find_intervals(case_metrics: pd.DataFrame, case_metrics_enhanced: pd.DataFrame) -> pd.DataFrame:
    """Compute the 95% CI of every mean score and of the pooled scores of Table II, by resampling cases.

    The arguments are those of `summarize_cases`. The result has one row per score. The pooled border_error_share is the
    share of all wrong pixels that lie near the border.

    Returns:
        Columns subset, average, metric, n, n_undefined, score, low, high (fractions), the LABELS and threshold_role.
    """
    rows: list[dict[str, Any]] = []
    for part, counts, common in _parts(case_metrics, case_metrics_enhanced):
        columns = {**{name: part[name].to_numpy() for name in CASE_METRICS}, **counts}
        intervals = bootstrap_intervals(columns, _average)
        for (average, metric), score in _average(columns).items():
            low, high = intervals[average, metric]
            rows.append(
                {"average": average, "metric": metric, "score": float(score), "low": low, "high": high, **common}
            )
    measured = ["average", "metric", "n", "n_undefined", "score", "low", "high"]
    return pd.DataFrame(rows)[["subset", *measured, *LABELS, "threshold_role"]]


def _parts(*tables: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, dict[str, np.ndarray], dict[str, Any]]]:
    """Yield, for each threshold and subset, its cases, their pixel counts, and the cells that all its rows share."""
    for table, role in zip(tables, (NETWORK, ENHANCEMENT), strict=True):
        for subset, part in table.groupby("subset", sort=False):
            counts = {name: part[name].to_numpy() for name in COUNTS}
            common = {"subset": subset, "n": len(part), "n_undefined": int(undefined(**counts).sum())}
            yield part, counts, {**common, "threshold_role": role, **labels_of(part)}


def _average(columns: Mapping[str, np.ndarray]) -> dict[tuple[str, str], np.ndarray]:
    """Average the CASE_METRICS and COUNTS (..., N) of N cases per image and pooled."""
    means = {("per_image", name): columns[name].mean(axis=-1) for name in CASE_METRICS}
    pooled = {("pooled", name): score for name, score in _score_pooled(columns).items()}
    wrong = columns["fp"] + columns["fn"]
    near, total = (columns["border_error_share"] * wrong).sum(axis=-1), wrong.sum(axis=-1)
    share = np.where(total > 0, near / np.where(total > 0, total, 1), 0.0)
    return {**means, **pooled, ("pooled", "border_error_share"): share}


def _score_pooled(counts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    pooled = score_counts(*(counts[name].sum(axis=-1) for name in COUNTS))
    return {name: pooled[name] for name in SCORES}


def pick_epochs(training_history: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """Select the metrics of the first epoch, every tenth epoch and the last one (step 7 of the paper).

    Returns:
        Columns epoch, subset (validation, if there are validation cases; train, with the metrics of the training
        batches), the TABLE_METRICS as fractions, and protocol.
    """
    epochs = training_history["epoch"]
    chosen = (epochs == 1) | (epochs % EPOCH_STEP == 0) | (epochs == epochs.max())
    parts = []
    for subset in ("validation", "train"):
        columns = {f"{subset}_{metric}": metric for metric in TABLE_METRICS}
        if set(columns) <= set(training_history):
            part = training_history.loc[chosen, ["epoch", *columns]].rename(columns=columns)
            part.insert(1, "subset", subset)
            parts.append(part)
    return pd.concat(parts, ignore_index=True).assign(protocol=split["protocol"].iloc[0])


def labels_of(part: pd.DataFrame) -> dict[str, Any]:
    """Return the LABELS that the rows have in common. The value of source names the sources of all rows."""
    return {**part.iloc[0][list(LABELS)], "source": name_source(part)}


def headline_subset(table: pd.DataFrame) -> str:
    """Return the subset that is reported first: test if it was scored, else validation, else train."""
    return next(name for name in reversed(SUBSETS) if (table["subset"] == name).any())


def originals(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of original cases, without augmented copies."""
    return table[table["sample_id"] == table["case_id"]]


def at_network_threshold(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of table_ii or score_intervals at the network's own threshold."""
    return table[table["threshold_role"] == NETWORK]
