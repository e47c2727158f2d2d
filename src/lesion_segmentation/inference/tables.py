"""What a folder of predictions holds, whichever way its table was written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lesion_segmentation.errors import InputError
from lesion_segmentation.inference.folder import FAILURES, TABLE
from lesion_segmentation.inference.parts import FAILED_PARTS, PARTS, are_parts, read_parts
from lesion_segmentation.storage import Location


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


def names_of_tables(target: Location, scheduler: str | None) -> tuple[str, str]:
    """How the tables of what is done and of what failed are called."""
    return (PARTS, FAILED_PARTS) if are_parts(target, scheduler) else (TABLE, FAILURES)
