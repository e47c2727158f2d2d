"""Formats of part files and exported tables, and which row of an image counts."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from lesion_segmentation.core.storage import Location


@dataclass(frozen=True)
class PredictionTables:
    """The exported tables.

    Attributes:
        target: The location of the predictions.
        table: One row per predicted image, with the COLUMNS of `description`.
        failures: Columns image and reason, one row per image that could not be predicted.
    """

    target: Location
    table: pd.DataFrame
    failures: pd.DataFrame


class Row(NamedTuple):
    """A line of a part file.

    Attributes:
        order: Time of the prediction in nanoseconds since 1970.
        fingerprint: Fingerprint of the image file.
        kinds: Kinds of files that were written, or none if the prediction failed.
        line: The line itself, a JSON object with the columns of the table.
    """

    order: int
    fingerprint: tuple[int | str, ...]
    kinds: frozenset[str]
    line: bytes


def encode_rows(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the content of a part file. Its JSON is ASCII with escapes, so file names that are no UTF-8 survive."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode("ascii")


def find_newest_rows(parts: Iterable[bytes]) -> dict[str, Row]:
    """Return the newest row of each image, with the kinds of all rows for the same file.

    A failure never overrides a success for the same file.
    """
    rows: dict[str, Row] = {}
    failures: list[tuple[str, Row]] = []
    succeeded = set()
    for content in parts:
        for name, row in _parse_rows(content):
            if not row.kinds:
                failures.append((name, row))
                continue
            succeeded.add(hash((name, row.fingerprint)))
            other = rows.setdefault(name, row)
            newer, older = (row, other) if row.order >= other.order else (other, row)
            same_file = newer.fingerprint == older.fingerprint
            rows[name] = newer._replace(kinds=newer.kinds | older.kinds) if same_file else newer
    for name, row in failures:
        if hash((name, row.fingerprint)) not in succeeded and (name not in rows or row.order >= rows[name].order):
            rows[name] = row
    return rows


def encode_table(columns: Sequence[str], rows: Iterable[Row]) -> bytes:
    """Return these columns of the rows as CSV. File names that are no UTF-8 keep their bytes."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(json.loads(row.line) for row in rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def parse_table(content: bytes) -> pd.DataFrame:
    """Read an exported table. Bytes that are no UTF-8 become replacement characters.

    Raises:
        ValueError: The content is no table.
    """
    texts = {"image": str, "flag": str, "reason": str}
    return pd.read_csv(io.BytesIO(content), dtype=texts, keep_default_na=False, encoding_errors="replace")


def _parse_rows(content: bytes) -> Iterator[tuple[str, Row]]:
    """Yield image name and row of each line. Damaged lines are skipped, so that their images are predicted again."""
    for line in content.splitlines():
        try:
            row = json.loads(line)
            name, fingerprint, kinds = row["image"], tuple(row["fingerprint"]), frozenset(row.get("kinds", []))
            name.encode("utf-8", "surrogateescape")  # fails for names that no file has
            hash(fingerprint)
            parsed = Row(int(row["order"]), fingerprint, kinds, line)
        except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError):
            continue
        yield name, parsed
