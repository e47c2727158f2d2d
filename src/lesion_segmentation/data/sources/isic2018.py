"""ISIC 2018 task 1, with 300 cases that are reserved for release tests.

They were selected at random once from 2,000 available cases, among those whose perceptual hash differs from every other
in more than 60 of 256 bits (docs/explanation/leakage.md).

isic2018_tools.csv gives the annotation tool of 1,144 cases as their annotation style: T1 (list of points set by hand),
T2 (not recorded) or T3 (automatic filling). These are the columns ISIC_id and tool of the metadata of IMA++ ("ISIC
Archive Multi-Annotator Dermoscopic Skin Lesion Segmentation Dataset", arXiv:2512.21472). Its repository has the
Apache License 2.0, its data set CC BY-NC 4.0. For all other cases, the archive has no mask or several of them, and it
is unknown which of these ISIC 2018 uses.
"""

from functools import partial
from pathlib import Path

import pandas as pd

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.splits import Protocol, SplitSettings, draw_validation_cases

RESERVED_LIST, TOOLS = "isic2018_reserved", "isic2018_tools"


def read_list(name: str) -> tuple[str, ...]:
    """Return the case ids of a list that is part of this package."""
    return tuple(read_packaged_table(name)["case_id"])


def read_packaged_table(name: str) -> pd.DataFrame:
    """Return a table of cases that is part of this package; all columns are text."""
    file = Path(__file__).with_name(f"{name}.csv")
    if not file.is_file():
        raise InputError(f"Unknown list of cases {name!r}, expected {RESERVED_LIST} or {TOOLS}.")
    return pd.read_csv(file, dtype=str)


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
