"""Tables that users write: .csv files, whose faults are reported with their lines and columns."""

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from lesion_segmentation.core.errors import InputError, first_line

_REMEDY = "Save the table as CSV in UTF-8, with as many cells in each row as in the header."


def normalize_name(name: str) -> str:
    """Return a name in Unicode NFC without blanks at its ends, so that equal names of files and tables match."""
    return unicodedata.normalize("NFC", name).strip()


def read_user_table(path: Path, known: Collection[str]) -> pd.DataFrame:
    """Read a .csv file in UTF-8 as text, separated by what its header contains most: commas, semicolons or tabs.

    Cells are normalized like names. Blank rows and columns without a name are skipped. The names of the columns `known`
    may be in upper case.

    Raises:
        InputError: The file is not such a table; `problems` lists the rows and columns concerned.
    """
    if path.exists() and not path.is_file():  # a named pipe would block
        raise InputError(f"{path} is not a regular file, expected a CSV file.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        separator = max(",;\t", key=text.lstrip().partition("\n")[0].count)
        lines = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
        rows = [(lines.line_num, [normalize_name(cell) for cell in line]) for line in lines if "".join(line).strip()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError.from_problems(f"{path} cannot be read", [first_line(error)], _REMEDY) from error
    header = [name.lower() if name.lower() in known else name for name in rows[0][1]] if rows else []
    problems = [] if header else ["it is empty"]
    problems += [f"{count} columns are named {name!r}" for name, count in Counter(header).items() if name and count > 1]
    ragged = [(number, len(row)) for number, row in rows if len(row) != len(header)]
    expected = f"expected {len(header)} as in the header"
    problems += [f"line {number}: the number of cells is {count}, {expected}" for number, count in ragged[:5]]
    problems += [f"... and {len(ragged) - 5} more lines with another number of cells"] if len(ragged) > 5 else []
    if problems:
        raise InputError.from_problems(f"{path} cannot be read", problems, _REMEDY)
    return pd.DataFrame([row for _, row in rows[1:]], columns=header, dtype=str).drop(columns="", errors="ignore")
