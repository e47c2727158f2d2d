"""From probability maps to the score of each case, and from these to the paper's Table II."""

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from lesion_segmentation.evaluation.cases import CASE_METRICS, score_case
from lesion_segmentation.evaluation.intervals import Interval, mean_interval, pooled_interval, ratio_interval
from lesion_segmentation.evaluation.legacy import legacy_scores
from lesion_segmentation.evaluation.scores import COUNTS, count_pixels, score_counts, undefined

SUBSETS = ("train", "validation", "test")
TABLE_METRICS = ("accuracy", "precision", "recall", "iou", "dice", "loss")
LABELS = ("source", "prediction", "protocol", "threshold")
"""What every row of scores says of itself: PH2 or synthetic, plain or mirror_mean, the split's protocol, from which
probability on a pixel is lesion."""
PAPER_EPOCHS = (1, 10, 20, 30, 40)

PAPER_TABLE_II = pd.DataFrame(
    [("train", 0.96, 0.96, 0.93, 0.94, 0.77, 0.17), ("test", 0.93, 0.89, 0.90, 0.92, 0.74, 0.22),
     ("validation", 0.94, 0.92, 0.90, 0.93, 0.74, 0.21)],
    columns=["subset", *TABLE_METRICS],
)  # fmt: skip
"""As printed after 40 epochs, as fractions. Its IoU and Dice are the legacy ones and cannot be compared."""


def score_cases(
    probabilities: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    cases: pd.DataFrame,
    scored: pd.DataFrame,
    threshold: float,
    prediction: str,
) -> pd.DataFrame:
    """Score each sample that has a probability map.

    Args:
        probabilities: sample_id to float (H, W), 0 to 1.
        masks: sample_id to uint8 (H, W), 0 or 1.
        cases: case_id, source, ...
        scored: sample_id, case_id, subset, protocol.
        threshold: Probabilities above it are lesion.
        prediction: How the maps were made ("plain" or "mirror_mean"), named in every row.

    Returns:
        subset, case_id, sample_id, the CASE_METRICS, loss (mean binary cross-entropy over the pixels), tp, fp, fn, tn,
        mask_hash (of the mask: equal where two runs were scored against the same) and the LABELS; sorted by subset
        (train, validation, test) and case.
    """
    source = cases.set_index("case_id")["source"]
    rows = []
    for row in scored[scored["sample_id"].isin(list(probabilities))].itertuples():
        probability, mask = probabilities[row.sample_id], masks[row.sample_id].astype(bool)
        predicted = probability > threshold
        rows.append(
            {
                "subset": row.subset,
                "case_id": row.case_id,
                "sample_id": row.sample_id,
                **score_case(predicted, mask),
                "loss": binary_cross_entropy(probability, mask),
                **count_pixels(predicted, mask),
                "mask_hash": hash_mask(mask),
                "source": source[row.case_id],
                "prediction": prediction,
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


def summarise_cases(case_metrics: pd.DataFrame, enhanced_case_metrics: pd.DataFrame) -> pd.DataFrame:
    """The paper's Table II with both averages named, at both thresholds.

    Returns:
        subset, average ("per_image": the mean over cases; "pooled": over the pixels of all cases), the
        TABLE_METRICS as fractions, n (cases), n_undefined (cases in which a score was 0/0) and the LABELS; first the
        rows of case_metrics, then those of the paper's enhancement.
    """
    return pd.concat([_summarise(case_metrics), _summarise(enhanced_case_metrics)], ignore_index=True)


def _summarise(case_metrics: pd.DataFrame) -> pd.DataFrame:
    scores = [name for name in TABLE_METRICS if name != "loss"]
    rows = []
    for subset, part in _by_subset(case_metrics):
        counts = {name: part[name].to_numpy() for name in COUNTS}
        pooled = score_counts(**{name: np.asarray(count.sum()) for name, count in counts.items()})
        common = {
            # All pictures have one size, so the mean loss over cases is the mean over pixels too.
            "loss": part["loss"].mean(),
            "n": len(part),
            "n_undefined": int(undefined(**counts).sum()),
            **part.iloc[0][list(LABELS)],
        }
        rows.append({"subset": subset, "average": "per_image", **part[scores].mean(), **common})
        rows.append({"subset": subset, "average": "pooled", **{k: float(pooled[k]) for k in scores}, **common})
    return pd.DataFrame(rows)


def find_intervals(case_metrics: pd.DataFrame, enhanced_case_metrics: pd.DataFrame) -> pd.DataFrame:
    """The mean of every score with its 95% interval over cases, one row a score; those of Table II pooled, too.

    Of border_error_share the pooled row is the share of all wrong pixels that lie at the border.

    Returns:
        subset, average, metric, n, n_undefined, score, low, high (fractions) and the LABELS.
    """
    rows = []
    for table in (case_metrics, enhanced_case_metrics):
        for subset, part in _by_subset(table):
            counts = {name: part[name].to_numpy() for name in COUNTS}
            common = {"subset": subset, "n": len(part), "n_undefined": int(undefined(**counts).sum())}
            labels = part.iloc[0][list(LABELS)]
            for average, metric, score, (low, high) in [*_per_image_rows(part), *_pooled_rows(part, counts)]:
                row = {"average": average, "metric": metric, "score": score, "low": low, "high": high}
                rows.append({**common, **row, **labels})
    columns = ["subset", "average", "metric", "n", "n_undefined", "score", "low", "high", *LABELS]
    return pd.DataFrame(rows)[columns]


def _per_image_rows(part: pd.DataFrame) -> Iterator[tuple[str, str, float, Interval]]:
    for metric in CASE_METRICS:
        yield "per_image", metric, part[metric].mean(), mean_interval(part[metric].to_numpy())


def _pooled_rows(part: pd.DataFrame, counts: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str, float, Interval]]:
    pooled = score_counts(**{name: np.asarray(count.sum()) for name, count in counts.items()})
    for metric in (name for name in TABLE_METRICS if name != "loss"):
        yield "pooled", metric, float(pooled[metric]), pooled_interval(counts, metric)
    wrong = counts["fp"] + counts["fn"]
    near = part["border_error_share"].to_numpy() * wrong
    share = float(near.sum() / wrong.sum()) if wrong.any() else 0.0
    yield "pooled", "border_error_share", share, ratio_interval(near, wrong)


def summarise_legacy(
    probabilities: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], case_metrics: pd.DataFrame
) -> pd.DataFrame:
    """The scores as the paper's code computes them, average "legacy": the only ones that its table compares with.

    Columns as summarise_cases; the threshold is the rounding of that code, 0.5.
    """
    rows = []
    for subset, part in _by_subset(case_metrics):
        maps, truths = (np.stack([of[name] for name in part["sample_id"]]) for of in (probabilities, masks))
        labels = {**part.iloc[0][list(LABELS)], "threshold": 0.5}
        common = {"loss": part["loss"].mean(), "n": len(part), "n_undefined": 0, **labels}
        rows.append({"subset": subset, "average": "legacy", **legacy_scores(maps, truths), **common})
    return pd.DataFrame(rows)


def compare_with_paper(table_ii: pd.DataFrame, legacy_table: pd.DataFrame) -> pd.DataFrame:
    """Table II, then our scores computed as the paper's code does, then the paper's rows: columns as in table_ii."""
    paper = PAPER_TABLE_II.assign(
        average="legacy", source="paper", prediction="plain", protocol="paper_leaky", threshold=0.5
    )
    paper = paper[paper["subset"].isin(table_ii["subset"])]
    both = pd.concat([table_ii, legacy_table, paper], ignore_index=True)
    return both[table_ii.columns].astype({"n": "Int64", "n_undefined": "Int64"})


def pick_epochs(training_history: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """The paper's step 7: all metrics after the epochs that it looks at, and after the last.

    Returns:
        epoch, subset (validation where there are validation cases; train: running network, augmented batches), the
        TABLE_METRICS as fractions, protocol.
    """
    chosen = training_history["epoch"].isin([*PAPER_EPOCHS, training_history["epoch"].max()])
    parts = []
    for subset in ("validation", "train"):
        columns = {f"{subset}_{metric}": metric for metric in TABLE_METRICS}
        if set(columns) <= set(training_history):
            part = training_history.loc[chosen, ["epoch", *columns]].rename(columns=columns)
            part.insert(1, "subset", subset)
            parts.append(part)
    return pd.concat(parts, ignore_index=True).assign(protocol=split["protocol"].iloc[0])


def _by_subset(case_metrics: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for subset in SUBSETS:
        part = case_metrics[case_metrics["subset"] == subset]
        if not part.empty:
            yield subset, part
