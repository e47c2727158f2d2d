"""Scores at the native size of the images, to measure the effect of resizing to the size of the network."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lesion_segmentation.evaluation.borders import DISTANCE_METRICS, score_distances
from lesion_segmentation.evaluation.intervals import mean_rows
from lesion_segmentation.evaluation.scores import CASE_METRICS, score_case
from lesion_segmentation.evaluation.tables import originals
from lesion_segmentation.images.masks import binarize
from lesion_segmentation.images.resize import Framing, restore_probability


def score_native_size(
    probabilities: Mapping[str, np.ndarray],
    native_masks: Mapping[str, np.ndarray],
    case_metrics: pd.DataFrame,
    framing: Framing = "stretch",
) -> pd.DataFrame:
    """Score each case against the expert's mask at its native size.

    Args:
        probabilities: case_id to float (h, w), 0 to 1.
        native_masks: case_id to uint8 (H, W), 0 or 1, not resized.
        case_metrics: Cases to score and their threshold. Copies of cases have no native mask and are dropped.
        framing: Method by which the images were resized to (h, w).

    Returns:
        Columns subset, case_id, width, height, the CASE_METRICS as fractions, the DISTANCE_METRICS (in native pixels
        and in percent of the diagonal), and protocol; rows in the order of case_metrics.
    """
    rows = []
    for case in originals(case_metrics).itertuples():
        mask = native_masks[case.case_id].astype(bool)
        # The Predictor restores maps with the same function.
        native = restore_probability(probabilities[case.case_id], mask.shape[0], mask.shape[1], framing)
        prediction = binarize(native, case.threshold, case.keep_largest_component)
        size = {"width": mask.shape[1], "height": mask.shape[0]}
        scores = score_case(prediction, mask) | score_distances(prediction, mask)
        rows.append({"subset": case.subset, "case_id": case.case_id, **size, **scores, "protocol": case.protocol})
    return pd.DataFrame(rows)


def compare_sizes(case_metrics: pd.DataFrame, case_metrics_native: pd.DataFrame) -> pd.DataFrame:
    """Compare the scores of each case at both sizes.

    Returns:
        Columns subset, metric, n, resized and native (means over cases, fractions), difference (native - resized) with
        the limits low and high of its paired 95% CI over cases, and protocol.
    """
    cases = originals(case_metrics)
    both = cases.merge(case_metrics_native, on=["subset", "case_id"], suffixes=("_resized", "_native"))
    rows = []
    for subset, part in both.groupby("subset", sort=False):
        resized, native = (
            part[[f"{metric}_{size}" for metric in CASE_METRICS]].set_axis(CASE_METRICS, axis="columns")
            for size in ("resized", "native")
        )
        protocol = part["protocol_native"].iloc[0]
        for row in mean_rows(native - resized, "difference"):
            means = {"resized": resized[row["metric"]].mean(), "native": native[row["metric"]].mean()}
            rows.append({"subset": subset, **row, **means, "protocol": protocol})
    return pd.DataFrame(rows)[["subset", "metric", "n", "resized", "native", "difference", "low", "high", "protocol"]]


def summarize_native(case_metrics_native: pd.DataFrame) -> pd.DataFrame:
    """Compute the mean of every score at native size, including the distances.

    Returns:
        Columns subset, metric, n, score (a fraction; distances in native pixels or in percent of the diagonal) with the
        limits low and high of its 95% CI, and protocol.
    """
    rows = []
    for subset, part in case_metrics_native.groupby("subset", sort=False):
        common = {"subset": subset, "protocol": part["protocol"].iloc[0]}
        rows += [{**common, **row} for row in mean_rows(part[[*CASE_METRICS, *DISTANCE_METRICS]])]
    return pd.DataFrame(rows)[["subset", "metric", "n", "score", "low", "high", "protocol"]]
