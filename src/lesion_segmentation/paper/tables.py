"""The paper's Table II beside the table of the run, with scores by the paper's formulas."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lesion_segmentation.evaluation.tables import NETWORK, TABLE_METRICS, labels_of
from lesion_segmentation.paper.legacy import legacy_scores

PAPER_TABLE_II = pd.DataFrame(
    [("train", 0.96, 0.96, 0.93, 0.94, 0.77, 0.17), ("test", 0.93, 0.89, 0.90, 0.92, 0.74, 0.22),
     ("validation", 0.94, 0.92, 0.90, 0.93, 0.74, 0.21)],
    columns=["subset", *TABLE_METRICS],
)  # fmt: skip
"""Table II as printed in the paper (after 40 epochs), as fractions. Only legacy_scores are comparable with it."""


def summarize_legacy(
    probabilities: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], case_metrics: pd.DataFrame
) -> pd.DataFrame:
    """Return the legacy scores of each subset, with the columns of table_ii.

    The average is "legacy", and the threshold is 0.5, since the paper's code rounds probabilities.
    """
    rows = []
    for subset, part in case_metrics.groupby("subset", sort=False):
        predicted, truth = (np.stack([arrays[name] for name in part["sample_id"]]) for arrays in (probabilities, masks))
        labels = {**labels_of(part), "threshold": 0.5, "threshold_role": NETWORK}
        common = {"loss": part["loss"].mean(), "n": len(part), "n_undefined": 0, **labels}
        rows.append({"subset": subset, "average": "legacy", **legacy_scores(predicted, truth), **common})
    return pd.DataFrame(rows)


def compare_with_paper(table_ii: pd.DataFrame, table_ii_legacy: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of Table II, then the legacy scores, then the paper's rows, with the columns of table_ii."""
    labels = {"average": "legacy", "source": "paper", "test_time_augmentation": "none", "keep_largest_component": False}
    paper = PAPER_TABLE_II.assign(**labels, protocol="paper_leaky", threshold=0.5, threshold_role=NETWORK)
    paper = paper[paper["subset"].isin(table_ii["subset"])]
    both = pd.concat([table_ii, table_ii_legacy, paper], ignore_index=True)
    return both[table_ii.columns].astype({"n": "Int64", "n_undefined": "Int64"})
