"""Formats of the files beside the masks: part files, exported tables and the provenance of the masks."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.recorded_settings import find_differences
from lesion_segmentation.core.storage import Location

if TYPE_CHECKING:
    import pandas as pd

PROVENANCE = "predictions.json"
RANKING, RANKING_COLUMNS = "ranking.csv", ("image", "disagreement", "expected_dice", "flag")
FORMAT_VERSION = 2
"""Version 1 had a journal or Parquet files instead of part files."""


@dataclass(frozen=True)
class PredictionTables:
    """Exported tables: `table` has the COLUMNS of `description`, and `failures` has the columns image and reason."""

    target: Location
    table: "pd.DataFrame"
    failures: "pd.DataFrame"


class Row(NamedTuple):
    """A line of a part file.

    Attributes:
        order: Time of the prediction in nanoseconds since 1970.
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


def encode_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return these columns of the rows as CSV. File names that are no UTF-8 keep their bytes."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def rank_rows(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Sort rows by falling disagreement. Rows of earlier versions, which have none, come last."""
    return sorted(rows, key=lambda row: -float(row.get("disagreement") or 0))


def parse_table(content: bytes) -> "pd.DataFrame":
    """Read an exported table. Bytes that are no UTF-8 become replacement characters."""
    import pandas as pd

    texts = {"image": str, "flag": str, "color_profile": str, "reason": str}
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


def encode_provenance(provenance: Mapping[str, Any]) -> bytes:
    return json.dumps({**provenance, "format_version": FORMAT_VERSION}, indent=2).encode()


def require_same_provenance(target: object, record: bytes, provenance: Mapping[str, Any]) -> None:
    """Check that the masks in a target were predicted as they would be now."""
    try:
        found = json.loads(record.decode("utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"expected an object, found {type(found).__name__}")
    except ValueError as error:
        raise InputError(
            f"{target}/{PROVENANCE} is damaged ({error}). Choose another folder, or remove this one."
        ) from error
    if differences := find_differences(found, {**provenance, "format_version": FORMAT_VERSION}, {}):
        raise InputError.from_problems(
            f"{target} contains predictions with another provenance",
            [f"{name}: {there} there, {now} now" for name, there, now in differences],
            "Choose another folder.",
        )
