"""Aggregate scores over the folds of a cross-validation."""

import re
from collections.abc import Callable, Mapping

import pandas as pd

from lesion_segmentation.core.errors import InputError, pluralize
from lesion_segmentation.evaluation.intervals import mean_rows
from lesion_segmentation.evaluation.scores import CASE_METRICS


def pool_folds(fold_case_metrics: Mapping[str, Callable[[], pd.DataFrame]]) -> pd.DataFrame:
    """Collect the test cases of all folds in one table.

    An InputError says that there is no fold, or that a case is a test case of two folds.

    Args:
        fold_case_metrics: "fold_0/", "fold_1/", ... to a function that loads the case_metrics of that fold.

    Returns:
        Column fold and the columns of case_metrics, sorted by case_id.
    """
    parts = []
    for name, load in sorted(fold_case_metrics.items()):
        fold = re.fullmatch(r"fold_(\d+)/?", name)
        if fold:  # the same folder may hold the data of another run
            parts.append(load().query("subset == 'test'").assign(fold=int(fold[1])))
    if not parts:
        raise InputError(
            "There are no folds of a cross-validation in this data root. Run kedro cross-validate, or name its folder: "
            "--params data_root=<folder>"
        )
    cases = pd.concat(parts, ignore_index=True).sort_values("case_id", ignore_index=True)
    repeated = cases.loc[cases["case_id"].duplicated(), "case_id"]
    if len(repeated):
        raise InputError(
            f"{pluralize(len(repeated), 'case')} in the test sets of several folds, such as {repeated.iloc[0]}, so the "
            "folds come from different splits. Remove the folder of the cross-validation and run it again."
        )
    return cases[["fold", *[name for name in cases if name != "fold"]]]


def summarize_folds(cross_validation_cases: pd.DataFrame) -> pd.DataFrame:
    """Compute the mean of every score over the test cases of all folds.

    Returns:
        Columns metric, n (cases), folds (their number), score with the limits low and high of its 95% CI over cases,
        and mean_of_folds and deviation_of_folds (mean and sample standard deviation of the means of the folds).
    """
    rows = []
    for row in mean_rows(cross_validation_cases[[*CASE_METRICS, "loss"]]):
        of_folds = cross_validation_cases.groupby("fold")[row["metric"]].mean()
        folds = {"mean_of_folds": of_folds.mean(), "deviation_of_folds": of_folds.std(ddof=1)}
        rows.append({**row, **folds, "folds": len(of_folds)})
    return pd.DataFrame(rows)[["metric", "n", "folds", "score", "low", "high", "mean_of_folds", "deviation_of_folds"]]
