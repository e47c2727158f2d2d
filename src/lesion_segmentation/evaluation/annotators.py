"""Agreement of several annotators with each other, and of the predictions with each of them."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from lesion_segmentation.evaluation.intervals import mean_rows
from lesion_segmentation.evaluation.scores import count_pixels, score_counts
from lesion_segmentation.evaluation.tables import headline_subset, originals

PREDICTION, CONSENSUS = "prediction", "consensus"
AGREEMENT = ("dice", "kappa")


def score_annotators(
    predicted_masks: Mapping[str, np.ndarray], annotator_masks: Mapping[str, np.ndarray], case_metrics: pd.DataFrame
) -> pd.DataFrame:
    """Compute the mean agreement of each pair of annotators, and of the predictions with each annotator.

    Args:
        predicted_masks: case_id to (H, W), 0 or 1.
        annotator_masks: <case_id>/<annotator> to (H, W), 0 or 1. If it is empty, the result has no rows.
        case_metrics: Columns subset, case_id, sample_id, and the AGREEMENT with the consensus.

    Returns:
        Columns subset (test, or the last subset that was scored), first and second (an annotator, the prediction or the
        consensus), n (cases that both outlined), dice and kappa (means over these cases, fractions) and the limits
        <score>_low and <score>_high of their 95% CIs.
    """
    subset = headline_subset(case_metrics)
    part = originals(case_metrics[case_metrics["subset"] == subset])
    annotators: dict[str, dict[str, np.ndarray]] = {}
    for key in annotator_masks:
        case_id, _, name = key.partition("/")
        if case_id in set(part["case_id"]):
            annotators.setdefault(name, {})[case_id] = annotator_masks[key].astype(bool)
    names = sorted(annotators)
    tables = [(*pair, _agree(*(annotators[name] for name in pair))) for pair in combinations(names, 2)]
    predictions = {case_id: predicted_masks[case_id].astype(bool) for case_id in part["case_id"]} if names else {}
    tables += [(PREDICTION, name, _agree(predictions, annotators[name])) for name in names]
    tables += [(PREDICTION, CONSENSUS, part[[*AGREEMENT]])] if names else []
    rows = []
    for first, second, table in tables:
        row: dict[str, object] = {"subset": subset, "first": first, "second": second, "n": len(table)}
        for mean in mean_rows(table, "mean") if len(table) else ():
            score = mean["metric"]
            row |= {score: mean["mean"], f"{score}_low": mean["low"], f"{score}_high": mean["high"]}
        rows.append(row)
    scores = [f"{score}{end}" for score in AGREEMENT for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["subset", "first", "second", "n", *scores])


def _agree(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return the AGREEMENT of each case that has a mask in both mappings."""
    shared = sorted(first.keys() & second.keys())
    scores = [score_counts(**count_pixels(first[case_id], second[case_id])) for case_id in shared]
    return pd.DataFrame([{name: float(each[name]) for name in AGREEMENT} for each in scores], columns=[*AGREEMENT])
