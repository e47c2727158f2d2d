"""Replace generated tables in documents, and format their cells."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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


def format_interval(row: Mapping[str, Any], score: str) -> str:
    """Return a fraction in percent, with its 95% CI from the columns `<score>_low` and `<score>_high`."""
    mean, low, high = (100 * row[name] for name in (score, f"{score}_low", f"{score}_high"))
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"


def format_mean(scores: pd.Series) -> str:
    """Return the mean of fractions in percent, with its 95% CI."""
    low, high = mean_interval(scores.to_numpy())
    return format_interval({"mean": scores.mean(), "mean_low": low, "mean_high": high}, "mean")


def format_difference(row: Mapping[str, Any], score: str) -> str:
    """Return a difference of fractions in percentage points, with its 95% CI."""
    difference, low, high = (100 * row[name] for name in (score, f"{score}_low", f"{score}_high"))
    return f"{difference:+.2f} ({low:+.2f} to {high:+.2f})"
