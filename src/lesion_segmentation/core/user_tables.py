"""Tables that users write: .csv files, whose faults are reported with their lines and columns."""

import csv
import io
import unicodedata
from collections import Counter, defaultdict
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
    text = _read_text(path)
    separator = max(",;\t", key=text.lstrip().partition("\n")[0].count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    ragged, problems = defaultdict(list), []
    try:
        for line in lines:
            cells = [normalize_name(cell) for cell in line]
            if any(cells) and (not rows or len(cells) == len(rows[0])):
                rows.append(cells)
            elif any(cells):
                ragged[len(cells)].append(lines.line_num)
    except csv.Error as error:
        problems.append(f"line {lines.line_num} cannot be parsed ({first_line(error)})")
    header = [name.lower() if name.lower() in known else name for name in rows[0]] if rows else []
    problems += [] if header else ["it is empty"]
    problems += [f"{count} columns are named {name!r}" for name, count in Counter(header).items() if name and count > 1]
    for count, numbers in ragged.items():
        more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
        listed = f"line{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:5]))}{more}"
        problems.append(f"{listed}: the number of cells is {count}, expected {len(header)} as in the header")
    if problems:
        raise InputError.from_problems(f"{path} cannot be read", problems, _REMEDY)
    return pd.DataFrame(rows[1:], columns=header, dtype=str).drop(columns="", errors="ignore")


def _read_text(path: Path) -> str:
    if not path.is_file():  # a named pipe would block
        raise InputError(f"{path} is not a regular file. Expected a CSV file.")
    try:
        content = path.read_bytes()
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = f"byte 0x{content[error.start]:02x} in line {content.count(bytes([10]), 0, error.start) + 1}"
        raise InputError(f"{path} is not a CSV file in UTF-8 ({place}). {_REMEDY}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({first_line(error)}). Get permission to read it.") from error
