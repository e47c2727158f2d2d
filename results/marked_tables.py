"""Replace generated tables in documents, and format their cells."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from lesion_segmentation.evaluation.intervals import mean_interval

Tables = Mapping[str, Callable[[], str]]


def rebuild(text: str, tables: Tables) -> str:
    """Return the document with every table between `<!-- table NAME -->` and `<!-- end -->` rebuilt."""
    for name, make in tables.items():
        before, mark, rest = text.partition(f"<!-- table {name} -->\n")
        if mark:
            text = f"{before}{mark}{make()}\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
    return text


def rewrite(document: Path, tables: Tables) -> None:
    """Rebuild the tables of a file in place."""
    document.write_text(rebuild(document.read_text("utf-8"), tables), "utf-8")


def format_mean(scores: pd.Series) -> str:
    """Return the mean of fractions in percent, with its 95% CI."""
    low, high = mean_interval(scores.to_numpy())
    return f"{100 * scores.mean():.2f} ({100 * low:.2f} to {100 * high:.2f})"


def format_difference(changed: pd.Series, reference: pd.Series) -> str:
    """Return the mean difference of fractions, paired by case, in percentage points with its 95% CI."""
    difference = 100 * (changed - reference)
    low, high = mean_interval(difference.to_numpy())
    return f"{difference.mean():+.2f} ({low:+.2f} to {high:+.2f})"
