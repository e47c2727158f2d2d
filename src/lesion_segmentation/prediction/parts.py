"""Predictions of many machines: masks in a folder of any file system, and their table in parts, as Parquet."""

import hashlib
import io
import json
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from lesion_segmentation.core.storage import Location, place_of
from lesion_segmentation.prediction.description import COLUMNS
from lesion_segmentation.prediction.input_images import ImageFile
from lesion_segmentation.prediction.part_files import (
    FAILED_SCHEMA,
    NEEDED,
    SCHEMA,
    TYPE_OF,
    list_parts,
    mark_last,
    parse_part,
    read_rows,
)
from lesion_segmentation.prediction.provenance import (
    FAILED_PARTS,
    FORMAT_VERSION,
    PARTS,
    PROVENANCE,
    in_words,
    names_of,
    require_free,
    require_same,
)
from lesion_segmentation.prediction.workspace import Workspace

MANIFEST = "manifest.json"
TRIES = 5
"""To write a manifest of all parts, while other processes add theirs."""
ROWS = 200
"""Of a part: what is done once more where a process was killed."""


class PredictionParts:
    """Where predictions go; any number of processes on any machines may write to it, each its own pictures.

    A picture is done when its row stands in a part, which is written when the files of all its rows are whole. Whatever
    kills a process costs the rows that were in no part yet, and they are predicted once more, to the same bytes.

    Args:
        target: The folder.
        provenance: What the masks depend on: a folder holds those of one network and one way of cutting.
        kinds: Which files each picture gets: mask, and perhaps overlay and probability.
        rows: How many a part has at most.
    """

    def __init__(
        self, target: Location, provenance: Mapping[str, Any], kinds: Sequence[str] = ("mask",), rows: int = ROWS
    ) -> None:
        self.target, self.rows = place_of(target), rows
        self.provenance = {**provenance, "format_version": FORMAT_VERSION, "table": PARTS}
        self.kinds = sorted(kinds)
        self._workspace = Workspace(Path(self.target.path)) if self.target.is_local else None
        self._done: list[dict[str, Any]] = []
        self._failed: list[dict[str, Any]] = []

    def claim(self, pictures: Sequence[ImageFile] = ()) -> None:
        """Make the folder, or see that it is of the same network.

        Raises:
            InputError: It is of another network or threshold, cannot be reached or written, or holds other files under
                the names that the masks of these pictures would have.
        """
        record = self.target / PROVENANCE
        # Elsewhere the record is written once: whoever is later finds another's.
        with in_words(self.target), nullcontext() if self._workspace is None else self._workspace.alone():
            if not record.exists():
                there = self.target.list()
                require_free(self.target, (name for name in names_of(pictures, self.kinds) if name in there))
                self._write(PROVENANCE, json.dumps(self.provenance, indent=2).encode(), once=True)
            require_same(self.target, record.read(), self.provenance)
            if self._workspace is not None:
                self._workspace.sweep()

    def left(self, pictures: Sequence[ImageFile]) -> list[ImageFile]:
        """Those that are not done: also those whose file is another than it was, or that lack a kind of file."""
        table = read_rows(self.target / PARTS, SCHEMA, NEEDED)
        done = {
            hash((row.picture, row.source)) for row in table.itertuples() if set(self.kinds) <= set(row.kinds.split())
        }
        return [each for each in pictures if hash((_text(each.name), _source(each))) not in done]

    def write_files(self, picture: ImageFile, arrays: Mapping[str, np.ndarray]) -> None:
        """Write the pictures `<stem>_<kind>.png` of uint8 arrays; any thread may.

        Raises:
            InputError: The disk is full, there is no permission, or the place cannot be reached.
        """
        for kind, array in arrays.items():
            content = io.BytesIO()
            Image.fromarray(array).save(content, "PNG", compress_level=1)
            self._write(f"{picture.stem}_{kind}.png", content.getvalue())

    def note(self, picture: ImageFile, row: Mapping[str, Any]) -> None:
        """Note that a picture is done, once all its files are there."""
        known = {name: None if row.get(name) == "" and name in TYPE_OF else row.get(name) for name in COLUMNS}
        self._done.append({**known, **self._own(picture)})
        self._close_part()

    def fail(self, picture: ImageFile, reason: str) -> None:
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

    def finish(self, listed: Sequence[ImageFile], asked_for: Sequence[ImageFile]) -> tuple[int, int]:
        """As PredictionFolder.finish: one row of each picture stays in the parts, and the manifest is written."""
        self.close()
        names = {_text(each.name) for each in listed}
        for _ in range(TRIES):
            done, failed = self._settle(names)
            self._write_manifest(done, len(failed))
            if set(list_parts(self.target / PARTS)) == set(done["part"]):
                break  # else another process ended meanwhile, and whose manifest was last is not known
        mine = {_text(each.name) for each in asked_for}
        return int(done["picture"].isin(mine).sum()), int(failed["picture"].isin(mine).sum())

    def _settle(self, names: Collection[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Leave the rows that count in the parts, of failures those of these pictures; gives what is left of both."""
        done = read_rows(self.target / PARTS, SCHEMA, NEEDED).assign(failed=False)
        failed = read_rows(self.target / FAILED_PARTS, FAILED_SCHEMA, NEEDED).assign(failed=True)
        last = mark_last(pd.concat([done, failed], ignore_index=True))
        done["counts"], failed["counts"] = last[: len(done)], last[len(done) :]
        failed["counts"] &= failed["picture"].isin(names)
        self._remove(PARTS, SCHEMA, done[~done["counts"]])
        self._remove(FAILED_PARTS, FAILED_SCHEMA, failed[~failed["counts"]])
        return done[done["counts"]], failed[failed["counts"]]

    def _own(self, picture: ImageFile) -> dict[str, Any]:
        return {
            "picture": _text(picture.name),
            "source": _source(picture),
            "kinds": " ".join(self.kinds),
            "order": time.time_ns(),
        }

    def _close_part(self) -> None:
        if len(self._done) + len(self._failed) >= self.rows:
            self.close()

    def _remove(self, folder: str, schema: pa.Schema, void: pd.DataFrame) -> None:
        """Write the parts anew that hold such rows, as they stand there now: another process may do the same."""
        for part, content in (self.target / folder).read_all(sorted(set(void["part"]))):
            whole = parse_part(self.target / folder / part, content, schema)
            mine = void[void["part"] == part]
            rows = set(zip(mine["picture"], mine["order"], strict=True))
            kept = [
                row not in rows for row in zip(whole["picture"].to_pylist(), whole["order"].to_pylist(), strict=True)
            ]
            if any(kept):
                self._write_part(f"{folder}/{part}", whole.filter(pa.array(kept)))
            else:
                (self.target / folder / part).remove()

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

    def _write(self, name: str, content: bytes, once: bool = False) -> None:
        if self._workspace is None:
            (self.target / name).write(content, once)
            return
        with self._workspace.atomic_write(Path(self.target.path) / name) as path:
            path.write_bytes(content)


def read_parts(target: Location) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables that finish left: the COLUMNS of each picture that is done, and picture and reason of the others.

    Raises:
        InputError: They are damaged, or cannot be reached.
    """
    place = place_of(target)
    done = read_rows(place / PARTS, SCHEMA, list(COLUMNS)).drop(columns="part")
    failed = read_rows(place / FAILED_PARTS, FAILED_SCHEMA, ["picture", "reason"]).drop(columns="part")
    return done.sort_values("picture", ignore_index=True), failed.sort_values("picture", ignore_index=True)


def _text(name: str) -> str:
    """In Parquet a text is UTF-8; a file's name need not be."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _source(picture: ImageFile) -> str:
    return "-".join(map(str, picture.fingerprint))
