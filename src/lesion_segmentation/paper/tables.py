"""The paper's Table II beside ours, and ours by its formulas."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lesion_segmentation.evaluation.tables import NETWORK, TABLE_METRICS, by_subset, labels_of
from lesion_segmentation.paper.legacy import legacy_scores

PAPER_TABLE_II = pd.DataFrame(
    [("train", 0.96, 0.96, 0.93, 0.94, 0.77, 0.17), ("test", 0.93, 0.89, 0.90, 0.92, 0.74, 0.22),
     ("validation", 0.94, 0.92, 0.90, 0.93, 0.74, 0.21)],
    columns=["subset", *TABLE_METRICS],
)  # fmt: skip
"""As printed after 40 epochs, as fractions. Its IoU and Dice are the legacy ones and cannot be compared."""


def summarize_legacy(
    probabilities: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], case_metrics: pd.DataFrame
) -> pd.DataFrame:
    """The scores as the paper's code computes them, average "legacy": the only ones that its table compares with.

    Columns as table_ii; the threshold is the rounding of that code, 0.5.
    """
    rows = []
    for subset, part in by_subset(case_metrics):
        maps, truths = (np.stack([of[name] for name in part["sample_id"]]) for of in (probabilities, masks))
        labels = {**labels_of(part), "threshold": 0.5, "threshold_role": NETWORK}
        common = {"loss": part["loss"].mean(), "n": len(part), "n_undefined": 0, **labels}
        rows.append({"subset": subset, "average": "legacy", **legacy_scores(maps, truths), **common})
    return pd.DataFrame(rows)


def compare_with_paper(table_ii: pd.DataFrame, table_ii_legacy: pd.DataFrame) -> pd.DataFrame:
    """Table II, then our scores computed as the paper's code does, then the paper's rows: columns as in table_ii."""
    paper = PAPER_TABLE_II.assign(
        average="legacy",
        source="paper",
        test_time_augmentation="none",
        keep_largest_component=False,
        protocol="paper_leaky",
        threshold=0.5,
        threshold_role=NETWORK,
    )
    paper = paper[paper["subset"].isin(table_ii["subset"])]
    both = pd.concat([table_ii, table_ii_legacy, paper], ignore_index=True)
    return both[table_ii.columns].astype({"n": "Int64", "n_undefined": "Int64"})
