"""What the folds of a cross-validation say together."""

import re
from collections.abc import Callable, Mapping

import pandas as pd

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.evaluation.cases import CASE_METRICS
from lesion_segmentation.evaluation.intervals import mean_with_interval


def pool_folds(fold_case_metrics: Mapping[str, Callable[[], pd.DataFrame]]) -> pd.DataFrame:
    """The test cases of all folds.

    Args:
        fold_case_metrics: "fold_0/" and so on, to a function that gives the case_metrics of that fold.

    Returns:
        fold, and the columns of case_metrics; sorted by case.

    Raises:
        InputError: A case is a test case of two folds: these folds are not of one table.
    """
    parts = []
    for name, load in sorted(fold_case_metrics.items()):
        fold = re.fullmatch(r"fold_(\d+)/?", name)
        if fold is None:  # another run's, which stands in the same folder
            continue
        table = load()
        parts.append(table[table["subset"] == "test"].assign(fold=int(fold[1])))
    cases = pd.concat(parts, ignore_index=True).sort_values("case_id", ignore_index=True)
    repeated = cases.loc[cases["case_id"].duplicated(), "case_id"]
    if len(repeated):
        raise InputError(
            f"{len(repeated)} cases are test cases of more than one fold ({', '.join(repeated[:5])}, ...). These folds "
            "are not of one table: remove the folder of the cross-validation and run it again."
        )
    return cases[["fold", *[name for name in cases if name != "fold"]]]


def summarize_folds(cross_validation_cases: pd.DataFrame) -> pd.DataFrame:
    """The mean of every score over the test cases of all folds.

    Returns:
        metric, n (cases), folds, score with its 95% interval over cases low to high, and mean_of_folds and
        deviation_of_folds (of the folds' means, with n - 1).
    """
    rows = []
    for metric in (*CASE_METRICS, "loss"):
        values = cross_validation_cases[metric].to_numpy()
        of_folds = cross_validation_cases.groupby("fold")[metric].mean()
        rows.append(
            {
                "metric": metric,
                "n": len(values),
                "folds": len(of_folds),
                **mean_with_interval(values),
                "mean_of_folds": of_folds.mean(),
                "deviation_of_folds": of_folds.std(ddof=1),
            }
        )
    return pd.DataFrame(rows)
