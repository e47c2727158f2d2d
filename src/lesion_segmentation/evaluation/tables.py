"""From probability maps to the score of each case, and from these to Table II."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from lesion_segmentation.core.display_names import name_source
from lesion_segmentation.evaluation.cases import CASE_METRICS, score_case
from lesion_segmentation.evaluation.intervals import Interval, mean_interval, pooled_interval, ratio_interval
from lesion_segmentation.evaluation.scores import COUNTS, count_pixels, score_counts, undefined
from lesion_segmentation.images.masks import binarize

SUBSETS = ("train", "validation", "test")
SCORES = ("accuracy", "precision", "recall", "iou", "dice")
TABLE_METRICS = (*SCORES, "loss")
LABELS = ("source", "test_time_augmentation", "keep_largest_component", "protocol", "threshold")
"""What every row of scores says of itself: the data set, over which views of a picture predictions are means, whether
of each mask the largest part alone was kept, the split's protocol, from which probability on a pixel is lesion."""
NETWORK, ENHANCEMENT = "network", "enhancement"
"""Whose threshold a row is of: the network's, or a second, lower one (the paper's enhancement of its predictions)."""
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
        probabilities: sample_id to float (H, W), 0 to 1.
        masks: sample_id to uint8 (H, W), 0 or 1.
        scored: sample_id, case_id, subset, protocol, source.
        threshold: Probabilities above it are lesion.
        test_time_augmentation: How the maps were made, named in every row.
        keep_largest_component: Of each mask the largest part alone is scored, with its holes filled; named in every row.

    Returns:
        subset, case_id, sample_id, the CASE_METRICS, loss (mean binary cross-entropy over the pixels), tp, fp, fn, tn,
        mask_hash (of the mask: equal where two runs were scored against the same) and the LABELS; sorted by subset
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
    """A digest of a boolean mask (H, W) and its size."""
    return hashlib.sha256(f"{mask.shape}".encode() + mask.tobytes()).hexdigest()[:16]


def binary_cross_entropy(probabilities: np.ndarray, mask: np.ndarray) -> float:
    """Mean over the pixels, in nats; probabilities are kept 1e-7 away from 0 and 1, as Keras does."""
    p = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-7, 1 - 1e-7)
    return float(-np.where(mask, np.log(p), np.log1p(-p)).mean())


def summarize_cases(case_metrics: pd.DataFrame, case_metrics_enhanced: pd.DataFrame) -> pd.DataFrame:
    """Table II with both averages named, at both thresholds.

    Returns:
        subset, average ("per_image": the mean over cases; "pooled": over the pixels of all cases), the
        TABLE_METRICS as fractions, n (cases), n_undefined (cases in which a score was 0/0), the LABELS and
        threshold_role (NETWORK, ENHANCEMENT).
    """
    parts = [_summarize(case_metrics, NETWORK), _summarize(case_metrics_enhanced, ENHANCEMENT)]
    return pd.concat(parts, ignore_index=True)


def _summarize(case_metrics: pd.DataFrame, role: str) -> pd.DataFrame:
    scores = list(SCORES)
    rows = []
    for subset, part in by_subset(case_metrics):
        counts = {name: part[name].to_numpy() for name in COUNTS}
        pooled = score_counts(**{name: np.asarray(count.sum()) for name, count in counts.items()})
        common = {
            # All pictures have one size, so the mean loss over cases is the mean over pixels too.
            "loss": part["loss"].mean(),
            "n": len(part),
            "n_undefined": int(undefined(**counts).sum()),
            **labels_of(part),
            "threshold_role": role,
        }
        rows.append({"subset": subset, "average": "per_image", **part[scores].mean(), **common})
        rows.append({"subset": subset, "average": "pooled", **{k: float(pooled[k]) for k in scores}, **common})
    return pd.DataFrame(rows)


def find_intervals(case_metrics: pd.DataFrame, case_metrics_enhanced: pd.DataFrame) -> pd.DataFrame:
    """The mean of every score with its 95% interval over cases, one row a score; those of Table II pooled, too.

    Of border_error_share the pooled row is the share of all wrong pixels that lie at the border.

    Returns:
        subset, average, metric, n, n_undefined, score, low, high (fractions), the LABELS and threshold_role.
    """
    rows = []
    for table, role in ((case_metrics, NETWORK), (case_metrics_enhanced, ENHANCEMENT)):
        for subset, part in by_subset(table):
            counts = {name: part[name].to_numpy() for name in COUNTS}
            common = {"subset": subset, "n": len(part), "n_undefined": int(undefined(**counts).sum())}
            labels = {**labels_of(part), "threshold_role": role}
            for average, metric, score, (low, high) in [*_per_image_rows(part), *_pooled_rows(part, counts)]:
                row = {"average": average, "metric": metric, "score": score, "low": low, "high": high}
                rows.append({**common, **row, **labels})
    columns = ["subset", "average", "metric", "n", "n_undefined", "score", "low", "high", *LABELS,
               "threshold_role"]  # fmt: skip
    return pd.DataFrame(rows)[columns]


def _per_image_rows(part: pd.DataFrame) -> Iterator[tuple[str, str, float, Interval]]:
    for metric in CASE_METRICS:
        yield "per_image", metric, part[metric].mean(), mean_interval(part[metric].to_numpy())


def _pooled_rows(part: pd.DataFrame, counts: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str, float, Interval]]:
    pooled = score_counts(**{name: np.asarray(count.sum()) for name, count in counts.items()})
    for metric in SCORES:
        yield "pooled", metric, float(pooled[metric]), pooled_interval(counts, metric)
    wrong = counts["fp"] + counts["fn"]
    near = part["border_error_share"].to_numpy() * wrong
    share = float(near.sum() / wrong.sum()) if wrong.any() else 0.0
    yield "pooled", "border_error_share", share, ratio_interval(near, wrong)


def pick_epochs(training_history: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """All metrics after the first epoch, every tenth, and the last: the paper's step 7.

    Returns:
        epoch, subset (validation where there are validation cases; train: running network, augmented batches), the
        TABLE_METRICS as fractions, protocol.
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
    """The LABELS of rows that agree in them, but for their sources, which are all named."""
    return {**part.iloc[0][list(LABELS)], "source": name_source(part)}


def headline_subset(table: pd.DataFrame) -> str:
    """The subset whose scores are told first: the test, or the last one that was scored."""
    return next(name for name in reversed(SUBSETS) if (table["subset"] == name).any())


def originals(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that are of a case as it is, not of a copy."""
    return table[table["sample_id"] == table["case_id"]]


def at_network_threshold(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of table_ii or score_intervals at the network's own threshold."""
    return table[table["threshold_role"] == NETWORK]


def by_subset(case_metrics: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Name and rows of each subset that there is, in the order train, validation, test."""
    for subset in SUBSETS:
        part = case_metrics[case_metrics["subset"] == subset]
        if not part.empty:
            yield subset, part
