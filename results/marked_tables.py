"""What the documents' table makers share."""

from collections.abc import Callable, Mapping

import pandas as pd

from lesion_segmentation.evaluation.intervals import mean_interval


def rebuild(text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """A document with every table between its marks made anew."""
    for name, make in tables.items():
        before, mark, rest = text.partition(f"<!-- table {name} -->\n")
        if mark:
            text = f"{before}{mark}{make()}\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
    return text


def tell_difference(changed: pd.Series, reference: pd.Series) -> str:
    """In percent points, paired by case, with its 95% interval."""
    difference = 100 * (changed - reference)
    low, high = mean_interval(difference.to_numpy())
    return f"{difference.mean():+.2f} ({low:+.2f} to {high:+.2f})"
