"""Parts of a table as Parquet: their one schema, and how they are read."""

import io
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lesion_segmentation.core.errors import InputError, first_line
from lesion_segmentation.core.storage import Place
from lesion_segmentation.prediction.description import COLUMNS

_WHOLE = ("width", "height", "lesion_area", "left", "top", "right", "bottom", "parts")
_BROKEN = ("lesion_percent", "centroid_x", "centroid_y", "confidence", "entropy", "seconds")
TYPE_OF = dict.fromkeys(_WHOLE, pa.int64()) | dict.fromkeys(_BROKEN, pa.float64()) | {"touches_border": pa.bool_()}
"""Of the COLUMNS that are no texts."""
_OWN = [("source", pa.string()), ("kinds", pa.string()), ("order", pa.int64())]
"""What says whether a picture is done: its fingerprint, its files, and when, in nanoseconds since 1970."""
SCHEMA = pa.schema([*((name, TYPE_OF.get(name, pa.string())) for name in COLUMNS), *_OWN])
FAILED_SCHEMA = pa.schema([("picture", pa.string()), ("reason", pa.string()), *_OWN])
NEEDED = ["picture", "source", "kinds", "order"]


def mark_last(table: pd.DataFrame) -> np.ndarray:
    """The last row of each picture; but that the same file failed does not count where it is done."""
    of_file = table["picture"] + "\0" + table["source"]
    void = table["failed"] & of_file.isin(set(of_file[~table["failed"]]))
    last = table[~void].sort_values("order", kind="stable").drop_duplicates("picture", keep="last").index
    return table.index.isin(last)


def read_rows(folder: Place, schema: pa.Schema, columns: Sequence[str]) -> pd.DataFrame:
    """These columns of all parts, in the order of the parts, and `part`: the name of each row's."""
    tables = [
        _with_part(parse_part(folder / name, content, schema, columns), name)
        for name, content in folder.read_all(list_parts(folder))
    ]
    wanted = pa.schema([*(schema.field(name) for name in columns), ("part", pa.string())])
    return pa.concat_tables([wanted.empty_table(), *tables]).to_pandas()


def list_parts(folder: Place) -> list[str]:
    """Their names."""
    return sorted(name for name in folder.list() if name.endswith(".parquet"))


def _with_part(table: pa.Table, name: str) -> pa.Table:
    return table.append_column("part", pa.array([name] * len(table), pa.string()))


def parse_part(place: Place, content: bytes, schema: pa.Schema, columns: Iterable[str] | None = None) -> pa.Table:
    """These columns of a part, or all of its schema.

    Raises:
        InputError: It is damaged, or of another schema.
    """
    names = list(columns or schema.names)
    try:
        found = pq.read_table(io.BytesIO(content), columns=names)
        return found.cast(pa.schema([schema.field(name) for name in names]))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{place} is damaged ({first_line(error)}). Remove it and predict once more: its pictures are made again."
        ) from error
