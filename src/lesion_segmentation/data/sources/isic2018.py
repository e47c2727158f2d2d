"""ISIC 2018 task 1: 300 cases that no recipe trains or chooses on.

They were drawn once, of the 2,000 cases that were at hand, among those whose picture differs from every other in more
than 60 of 256 bits (docs/leak_guard.md). They are for networks that are released.
"""

from functools import partial
from importlib import resources

import pandas as pd

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.splits import Protocol, SplitSettings, draw_validation_cases

RESERVED_LIST = "isic2018_reserved"


def read_list(name: str) -> tuple[str, ...]:
    """The case ids of a list that comes with the package.

    Raises:
        InputError: There is none of this name.
    """
    file = resources.files("lesion_segmentation.data.sources").joinpath(f"{name}.csv")
    if not file.is_file():
        raise InputError(f"There is no list {name!r} of cases, only {RESERVED_LIST}.")
    with file.open() as lines:
        return tuple(pd.read_csv(lines, dtype=str)["case_id"])


def select_reserved(table: pd.DataFrame, settings: SplitSettings) -> list[str]:
    """Those of the 300 that are there.

    Raises:
        InputError: None of them is.
    """
    found = [case_id for case_id in read_list(RESERVED_LIST) if case_id in table.index]
    if not found:
        raise InputError(
            f"split.protocol is {settings.protocol}, but none of the cases that it holds out is there: is this ISIC "
            "2018? Choose another split.protocol."
        )
    return found


ISIC2018 = Protocol(select_reserved, partial(draw_validation_cases, stratify=False))
