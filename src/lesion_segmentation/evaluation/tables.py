"""From probability maps to the score of each case, and from these to the paper's Table II."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lesion_segmentation.evaluation.scores import COUNTS, METRICS, count_pixels, score_counts, undefined

SUBSETS = ("train", "validation", "test")
TABLE_METRICS = ("accuracy", "precision", "recall", "iou", "dice", "loss")

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
    split: pd.DataFrame,
    threshold: float,
    prediction: str,
) -> pd.DataFrame:
    """Score each case that has a probability map.

    Args:
        probabilities: case_id to float (H, W), 0 to 1.
        masks: case_id to uint8 (H, W), 0 or 1.
        cases: case_id, source, ...
        split: case_id, subset.
        threshold: Probabilities above it are lesion.
        prediction: How the maps were made ("plain" or "mirror_mean"), named in every row.

    Returns:
        subset, case_id, the METRICS, loss (mean binary cross-entropy over the pixels), tp, fp, fn, tn, source,
        prediction; sorted by subset (train, validation, test) and case.
    """
    source = cases.set_index("case_id")["source"]
    rows = []
    for row in split.itertuples():
        if row.case_id not in probabilities:
            continue
        mask = masks[row.case_id].astype(bool)
        rows.append(
            {
                "subset": row.subset,
                "case_id": row.case_id,
                **count_pixels(probabilities[row.case_id] > threshold, mask),
                "loss": binary_cross_entropy(probabilities[row.case_id], mask),
                "source": source[row.case_id],
                "prediction": prediction,
            }
        )
    table = pd.DataFrame(rows)
    table = table.assign(**score_counts(*(table[count].to_numpy() for count in COUNTS)))
    table["subset"] = pd.Categorical(table["subset"], SUBSETS, ordered=True)
    table = table.sort_values(["subset", "case_id"]).astype({"subset": str})
    columns = ["subset", "case_id", *METRICS, "loss", *COUNTS, "source", "prediction"]
    return table[columns].reset_index(drop=True)


def binary_cross_entropy(probabilities: np.ndarray, mask: np.ndarray) -> float:
    """Mean over the pixels, in nats; probabilities are kept 1e-7 away from 0 and 1, as Keras does."""
    p = np.clip(np.asarray(probabilities, dtype=np.float64), 1e-7, 1 - 1e-7)
    return float(-np.where(mask, np.log(p), np.log1p(-p)).mean())


def summarise_cases(case_metrics: pd.DataFrame) -> pd.DataFrame:
    """The paper's Table II with both averages named.

    Returns:
        subset, average ("per_image": the mean over cases; "pooled": over the pixels of all cases), the
        TABLE_METRICS as fractions, n (cases), n_undefined (cases in which a score was 0/0), source, prediction.
    """
    rows = []
    for subset in SUBSETS:
        part = case_metrics[case_metrics["subset"] == subset]
        if part.empty:
            continue
        counts = {name: part[name].to_numpy() for name in COUNTS}
        pooled = score_counts(**{name: np.asarray(count.sum()) for name, count in counts.items()})
        common = {
            "n": len(part),
            "n_undefined": int(undefined(**counts).sum()),
            "source": part["source"].iloc[0],
            "prediction": part["prediction"].iloc[0],
        }
        scores = [name for name in TABLE_METRICS if name != "loss"]
        # All pictures have one size, so the mean loss over cases is the mean over pixels too.
        loss = part["loss"].mean()
        rows.append({"subset": subset, "average": "per_image", **part[scores].mean(), "loss": loss, **common})
        rows.append(
            {
                "subset": subset,
                "average": "pooled",
                **{name: float(pooled[name]) for name in scores},
                "loss": loss,
                **common,
            }
        )
    return pd.DataFrame(rows)


def compare_with_paper(table_ii: pd.DataFrame) -> pd.DataFrame:
    """Table II with the paper's rows below ours: columns as in table_ii, source "paper", average "legacy"."""
    paper = PAPER_TABLE_II.assign(average="legacy", source="paper", prediction="plain")
    both = pd.concat([table_ii, paper[paper["subset"].isin(table_ii["subset"])]], ignore_index=True)
    return both[table_ii.columns].astype({"n": "Int64", "n_undefined": "Int64"})
