"""ISIC 2018 task 1, with 300 cases that are reserved for release tests.

They were selected at random once from 2,000 available cases, among those whose perceptual hash differs from every other
in more than 60 of 256 bits (docs/explanation/leakage.md).
"""

from functools import partial
from importlib import resources

import pandas as pd

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.splits import Protocol, SplitSettings, draw_validation_cases

RESERVED_LIST = "isic2018_reserved"


def read_list(name: str) -> tuple[str, ...]:
    """Return the case ids of a list that is part of this package."""
    file = resources.files("lesion_segmentation.data.sources").joinpath(f"{name}.csv")
    if not file.is_file():
        raise InputError(f"Unknown list of cases {name!r}, expected {RESERVED_LIST}.")
    with file.open() as lines:
        return tuple(pd.read_csv(lines, dtype=str)["case_id"])


def select_reserved(table: pd.DataFrame, settings: SplitSettings) -> list[str]:
    """Return the reserved cases that are in the table."""
    found = [case_id for case_id in read_list(RESERVED_LIST) if case_id in table.index]
    if not found:
        raise InputError(
            f"split.protocol is {settings.protocol}, but none of its reserved cases is in the data. Check that these "
            "are cases of ISIC 2018, or choose another split.protocol."
        )
    return found


ISIC2018 = Protocol(select_reserved, partial(draw_validation_cases, stratify=False))
