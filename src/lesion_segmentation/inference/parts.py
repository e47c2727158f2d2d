"""Predictions of many machines: masks in a folder of any file system, and their table in parts, as Parquet."""

import hashlib
import io
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from lesion_segmentation.errors import InputError
from lesion_segmentation.inference.description import COLUMNS
from lesion_segmentation.inference.made_by import FORMAT_VERSION, MADE_BY, names_of, require_free, require_same
from lesion_segmentation.inference.pictures import PictureFile
from lesion_segmentation.inference.unfinished import Unfinished
from lesion_segmentation.storage import Location, Place, place_of

PARTS, FAILED_PARTS = "predictions.parquet", "failures.parquet"
MANIFEST = "manifest.json"
BESIDE = ".predictions"
"""On this machine's file systems: where files are written before they are whole."""
ROWS = 200
"""Of a part: what is done once more where a process was killed."""

_KINDS = {
    "integer": ("width", "height", "lesion_area", "left", "top", "right", "bottom", "parts"),
    "number": ("lesion_percent", "centroid_x", "centroid_y", "confidence", "entropy", "seconds"),
    "truth": ("touches_border",),
}
_TYPES = {"integer": pa.int64(), "number": pa.float64(), "truth": pa.bool_()}
_TYPE_OF = {name: _TYPES[kind] for kind, names in _KINDS.items() for name in names}
_OWN = [("source", pa.string()), ("kinds", pa.string()), ("order", pa.int64())]
"""What says whether a picture is done: its fingerprint, its files, and when, in nanoseconds since 1970."""
SCHEMA = pa.schema([*((name, _TYPE_OF.get(name, pa.string())) for name in COLUMNS), *_OWN])
FAILED_SCHEMA = pa.schema([("picture", pa.string()), ("reason", pa.string()), *_OWN])
_NEEDED = ["picture", "source", "kinds", "order"]


class PredictionParts:
    """Where predictions go; any number of processes on any machines may write to it, each its own pictures.

    A picture is done when its row stands in a part, which is written when the files of all its rows are whole. Whatever
    kills a process costs the rows that were in no part yet, and they are predicted once more, to the same bytes.

    Args:
        target: The folder.
        made_by: What the masks depend on: a folder holds those of one network and one way of cutting.
        kinds: Which files each picture gets: mask, and perhaps overlay and probability.
        rows: How many a part has at most.
    """

    def __init__(
        self, target: Location, made_by: Mapping[str, Any], kinds: Sequence[str] = ("mask",), rows: int = ROWS
    ) -> None:
        self.target, self.rows = place_of(target), rows
        self.made_by = {**made_by, "format_version": FORMAT_VERSION, "table": PARTS}
        self.kinds = sorted(kinds)
        self._unfinished = Unfinished(Path(self.target.path) / BESIDE) if self.target.is_local else None
        self._done: list[dict[str, Any]] = []
        self._failed: list[dict[str, Any]] = []

    def claim(self, pictures: Sequence[PictureFile] = ()) -> None:
        """Make the folder, or see that it is of the same network.

        Raises:
            InputError: It is of another network or threshold, cannot be reached or written, or holds other files under
                the names that the masks of these pictures would have.
        """
        record = self.target / MADE_BY
        if self._unfinished is not None:
            self._unfinished.folder.mkdir(parents=True, exist_ok=True)
            self._unfinished.sweep()
        if not record.exists():
            there = self.target.list()
            require_free(self.target, (name for name in names_of(pictures, self.kinds) if name in there))
            record.write(json.dumps(self.made_by, indent=2).encode(), once=True)
        require_same(self.target, record.read(), self.made_by)

    def left(self, pictures: Sequence[PictureFile]) -> list[PictureFile]:
        """Those that are not done: also those whose file is another than it was, or that lack a kind of file."""
        table = _read(self.target / PARTS, SCHEMA, _NEEDED)
        done = {
            hash((row.picture, row.source)) for row in table.itertuples() if set(self.kinds) <= set(row.kinds.split())
        }
        return [each for each in pictures if hash((_text(each.name), _source(each))) not in done]

    def write_files(self, picture: PictureFile, arrays: Mapping[str, np.ndarray]) -> None:
        """Write the pictures `<stem>_<kind>.png` of uint8 arrays; any thread may.

        Raises:
            InputError: The disk is full, there is no permission, or the place cannot be reached.
        """
        for kind, array in arrays.items():
            content = io.BytesIO()
            Image.fromarray(array).save(content, "PNG", compress_level=1)
            self._write(f"{picture.stem}_{kind}.png", content.getvalue())

    def note(self, picture: PictureFile, row: Mapping[str, Any]) -> None:
        """Note that a picture is done, once all its files are there."""
        known = {name: None if row.get(name) == "" and name in _TYPE_OF else row.get(name) for name in COLUMNS}
        self._done.append({**known, **self._own(picture)})
        self._close_part()

    def fail(self, picture: PictureFile, reason: str) -> None:
        """Note that a picture could not be predicted; the next call tries again."""
        self._failed.append({"reason": _text(reason), **self._own(picture)})
        self._close_part()

    def close(self) -> None:
        """Write the last part."""
        for folder, rows, schema in ((PARTS, self._done, SCHEMA), (FAILED_PARTS, self._failed, FAILED_SCHEMA)):
            if rows:
                digest = hashlib.sha256("\n".join(sorted(row["picture"] + row["source"] for row in rows)).encode())
                self._write_part(f"{folder}/part-{digest.hexdigest()[:16]}.parquet", pa.Table.from_pylist(rows, schema))
                rows.clear()

    def finish(self, listed: Sequence[PictureFile], asked_for: Sequence[PictureFile]) -> tuple[int, int]:
        """Leave one row of each picture in the parts, and write the manifest.

        Args:
            listed: All pictures that there are: what failed and is no longer there is no longer told.
            asked_for: Those of this call.

        Returns:
            How many of those that were asked for are done, and how many failed.
        """
        self.close()
        done = _read(self.target / PARTS, SCHEMA, _NEEDED).assign(failed=False)
        failed = _read(self.target / FAILED_PARTS, FAILED_SCHEMA, _NEEDED).assign(failed=True)
        last = _mark_last(pd.concat([done, failed], ignore_index=True))
        done["counts"], failed["counts"] = last[: len(done)], last[len(done) :]
        failed["counts"] &= failed["picture"].isin({_text(each.name) for each in listed})
        self._keep(PARTS, SCHEMA, done)
        self._keep(FAILED_PARTS, FAILED_SCHEMA, failed)
        done, failed = done[done["counts"]], failed[failed["counts"]]
        self._write_manifest(done, len(failed))
        mine = {_text(each.name) for each in asked_for}
        return int(done["picture"].isin(mine).sum()), int(failed["picture"].isin(mine).sum())

    def _own(self, picture: PictureFile) -> dict[str, Any]:
        return {
            "picture": _text(picture.name),
            "source": _source(picture),
            "kinds": " ".join(self.kinds),
            "order": time.time_ns(),
        }

    def _close_part(self) -> None:
        if len(self._done) + len(self._failed) >= self.rows:
            self.close()

    def _keep(self, folder: str, schema: pa.Schema, table: pd.DataFrame) -> None:
        """Write the parts anew that hold rows which do not count."""
        for part in sorted(set(table["part"][~table["counts"]])):
            kept = table["counts"][table["part"] == part].to_numpy()
            place = self.target / folder / part
            if kept.any():
                whole = _parse(place, place.read(), schema)
                self._write_part(f"{folder}/{part}", whole.filter(pa.array(kept)))
            else:
                place.remove()

    def _write_manifest(self, done: pd.DataFrame, failed: int) -> None:
        parts = [{"file": f"{PARTS}/{part}", "rows": int(rows)} for part, rows in done["part"].value_counts().items()]
        content = {
            "format_version": FORMAT_VERSION,
            "pictures": len(done),
            "failed": failed,
            "columns": {field.name: str(field.type) for field in SCHEMA},
            "parts": sorted(parts, key=lambda part: str(part["file"])),
        }
        self._write(MANIFEST, json.dumps(content, indent=1).encode())

    def _write_part(self, name: str, table: pa.Table) -> None:
        content = io.BytesIO()
        pq.write_table(table, content, compression="zstd")
        self._write(name, content.getvalue())

    def _write(self, name: str, content: bytes) -> None:
        if self._unfinished is None:
            (self.target / name).write(content)
            return
        with self._unfinished.replacing(Path(self.target.path) / name) as path:
            path.write_bytes(content)


def are_parts(target: Location, scheduler: str | None = None) -> bool:
    """Whether the table is in parts: of several machines, where nothing can be appended to a file, or begun so."""
    return isinstance(target, Place) or scheduler is not None or (target / PARTS).is_dir()


def read_parts(target: Location) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables that finish left: the COLUMNS of each picture that is done, and picture and reason of the others.

    Raises:
        InputError: They are damaged, or cannot be reached.
    """
    place = place_of(target)
    done = _read(place / PARTS, SCHEMA, list(COLUMNS)).drop(columns="part")
    failed = _read(place / FAILED_PARTS, FAILED_SCHEMA, ["picture", "reason"]).drop(columns="part")
    return done.sort_values("picture", ignore_index=True), failed.sort_values("picture", ignore_index=True)


def _mark_last(table: pd.DataFrame) -> np.ndarray:
    """The last row of each picture; but that the same file failed does not count where it is done."""
    of_file = table["picture"] + "\0" + table["source"]
    void = table["failed"] & of_file.isin(set(of_file[~table["failed"]]))
    last = table[~void].sort_values("order", kind="stable").drop_duplicates("picture", keep="last").index
    return table.index.isin(last)


def _read(folder: Place, schema: pa.Schema, columns: Sequence[str]) -> pd.DataFrame:
    """These columns of all parts, in the order of the parts, and `part`: the name of each row's."""
    names = sorted(name for name in folder.list() if name.endswith(".parquet"))
    tables = [
        _with_part(_parse(folder / name, content, schema, columns), name) for name, content in folder.read_all(names)
    ]
    wanted = pa.schema([*(schema.field(name) for name in columns), ("part", pa.string())])
    return pa.concat_tables([wanted.empty_table(), *tables]).to_pandas()


def _with_part(table: pa.Table, name: str) -> pa.Table:
    return table.append_column("part", pa.array([name] * len(table), pa.string()))


def _parse(place: Place, content: bytes, schema: pa.Schema, columns: Iterable[str] | None = None) -> pa.Table:
    names = list(columns or schema.names)
    try:
        found = pq.read_table(io.BytesIO(content), columns=names)
        return found.cast(pa.schema([schema.field(name) for name in names]))
    except (pa.ArrowException, OSError, ValueError) as error:
        cause = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InputError(
            f"{place} is damaged ({cause}). Remove it and predict once more: its pictures are then made again."
        ) from error


def _text(name: str) -> str:
    """In Parquet a text is UTF-8; a file's name need not be."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _source(picture: PictureFile) -> str:
    return "-".join(map(str, picture.fingerprint))
