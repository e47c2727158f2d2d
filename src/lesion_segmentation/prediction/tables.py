"""A folder of predictions, whichever way its table is written: to be opened, and to be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.storage import Location
from lesion_segmentation.prediction.folder import FAILURES, TABLE, PredictionFolder
from lesion_segmentation.prediction.provenance import FAILED_PARTS, PARTS, are_parts

if TYPE_CHECKING:
    from lesion_segmentation.prediction.parts import PredictionParts

# `parts` is imported inside functions: it needs pyarrow, which comes with the extra scale.
Target: TypeAlias = "PredictionFolder | PredictionParts"


@dataclass(frozen=True)
class PredictionTables:
    """Where the predictions are, a row a picture, and picture and reason of those that failed."""

    target: Location
    table: pd.DataFrame
    failures: pd.DataFrame


def read_tables(target: Location) -> PredictionTables:
    """The tables that were written at the end.

    Raises:
        InputError: They are not there, damaged, or cannot be reached.
    """
    if not isinstance(target, Path) or are_parts(target):
        from lesion_segmentation.prediction.parts import read_parts

        return PredictionTables(target, *read_parts(target))
    texts = {"picture": str, "flag": str, "reason": str}
    options: dict[str, Any] = {"dtype": texts, "keep_default_na": False, "encoding_errors": "replace"}
    failures = target / FAILURES
    try:
        table = pd.read_csv(target / TABLE, **options)
        failed = pd.read_csv(failures, **options) if failures.is_file() else pd.DataFrame(columns=["picture", "reason"])
    except FileNotFoundError as error:
        raise InputError(f"{target} holds no predictions: {TABLE} is missing.") from error
    except ValueError as error:
        raise InputError(f"The tables in {target} are damaged ({error}). Predict once more.") from error
    return PredictionTables(target, table, failed)


def names_of_tables(target: Location) -> tuple[str, str]:
    """How the tables of what is done and of what failed are called."""
    return (PARTS, FAILED_PARTS) if are_parts(target) else (TABLE, FAILURES)


def open_target(
    target: Location,
    provenance: Mapping[str, Any],
    kinds: Sequence[str],
    scheduler: str | None = None,
    rows: int | None = None,
) -> Target:
    """A folder with journals and a table, or one whose table is in parts of so many rows."""
    if are_parts(target, scheduler):
        from lesion_segmentation.prediction.parts import ROWS, PredictionParts

        return PredictionParts(target, provenance, kinds, rows or ROWS)
    assert isinstance(target, Path)
    return PredictionFolder(target.absolute(), provenance, kinds)  # workers may stand elsewhere
