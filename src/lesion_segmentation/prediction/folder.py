"""A folder of predictions: whole files, journals of what is done, and tables that are made of them."""

import csv
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from lesion_segmentation.core.atomic_files import atomic_write
from lesion_segmentation.prediction.description import COLUMNS
from lesion_segmentation.prediction.input_images import ImageFile
from lesion_segmentation.prediction.provenance import (
    FORMAT_VERSION,
    PROVENANCE,
    in_words,
    names_of,
    require_free,
    require_same,
)
from lesion_segmentation.prediction.workspace import Workspace

TABLE, FAILURES = "predictions.csv", "failures.csv"
ANY_NAME = "surrogateescape"
"""A file's name may hold bytes that are no UTF-8."""


class PredictionFolder:
    """Where predictions go; several processes may write to it, each its own part of the pictures.

    A picture is done when its line stands in a journal, which happens after all its files are whole. So whatever kills
    a process, the next one goes on with the pictures that have no line. Each process has a journal of its own.

    Args:
        target: The folder, made if it is not there.
        provenance: What the masks depend on: a folder holds those of one network and one way of cutting.
        kinds: Which files each picture gets: mask, and perhaps overlay and probability.
    """

    def __init__(self, target: Path, provenance: Mapping[str, Any], kinds: Sequence[str] = ("mask",)) -> None:
        self.target, self.provenance = target, {**provenance, "format_version": FORMAT_VERSION, "table": TABLE}
        self.kinds = sorted(kinds)
        self._workspace = Workspace(target)
        self._journal: IO[str] | None = None

    def claim(self, pictures: Sequence[ImageFile] = ()) -> None:
        """Make the folder, or see that it is of the same network.

        Raises:
            InputError: It is of another network or threshold, cannot be written, or holds other files under the names
                that the masks of these pictures would have.
        """
        with in_words(self.target):
            with self._workspace.alone():
                if not (self.target / PROVENANCE).is_file():
                    require_free(self.target, filter(self._is_there, names_of(pictures, self.kinds)))
                    with atomic_write(self.target / PROVENANCE) as path:
                        path.write_text(json.dumps(self.provenance, indent=2))
            require_same(self.target, (self.target / PROVENANCE).read_bytes(), self.provenance)
            self._workspace.sweep()

    def left(self, pictures: Sequence[ImageFile]) -> list[ImageFile]:
        """Those that are not done: also those whose file is another than it was, or that lack a kind of file."""
        done = {
            hash((row["picture"], tuple(row.get("source", ()))))
            for _, _, row in self._rows()
            if "failed" not in row and set(self.kinds) <= set(row.get("kinds", ()))
        }
        return [picture for picture in pictures if hash((picture.name, picture.fingerprint)) not in done]

    def write_files(self, picture: ImageFile, arrays: Mapping[str, np.ndarray]) -> None:
        """Write the pictures `<stem>_<kind>.png` of uint8 arrays; any thread may.

        Raises:
            InputError: The disk is full, or there is no permission.
        """
        for kind, array in arrays.items():
            with self._workspace.atomic_write(self.target / f"{picture.stem}_{kind}.png") as path:
                Image.fromarray(array).save(path, "PNG", compress_level=1)

    def note(self, picture: ImageFile, row: Mapping[str, Any]) -> None:
        """Note that a picture is done, once all its files are there."""
        self._note(picture, {"kinds": self.kinds, **row})

    def fail(self, picture: ImageFile, reason: str) -> None:
        """Note that a picture could not be predicted; the next call tries again."""
        self._note(picture, {"failed": reason})

    def close(self) -> None:
        """The journal, where there is one."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def finish(self, listed: Sequence[ImageFile], asked_for: Sequence[ImageFile]) -> tuple[int, int]:
        """Write the tables of all parts.

        Args:
            listed: All pictures that there are: what failed and is no longer there is no longer told.
            asked_for: Those of this call.

        Returns:
            How many of those that were asked for are done, and how many failed.
        """
        self.close()
        names = {picture.name for picture in listed}
        with in_words(self.target), self._workspace.alone():
            index = self._index()
            failed = {name for name, entry in index.items() if entry.failed}
            done = sorted(set(index) - failed)
            _write_table(self.target / TABLE, COLUMNS, self._read(index, done))
            told = sorted(failed & names)
            if told or (self.target / FAILURES).exists():
                reasons = ({**row, "reason": row["failed"]} for row in self._read(index, told))
                _write_table(self.target / FAILURES, ("picture", "reason"), reasons)
        mine = {picture.name for picture in asked_for}
        return len(mine & set(done)), len(mine & failed)

    def _is_there(self, name: str) -> bool:
        return os.path.exists(self.target / name)  # a name that is too long is not there

    def _note(self, picture: ImageFile, row: Mapping[str, Any]) -> None:
        with in_words(self.target):
            if self._journal is None:
                self._journal = (self._workspace.folder / f"{self._workspace.name}.jsonl").open(
                    "x", encoding="utf-8", errors=ANY_NAME
                )
            said = {"picture": picture.name, "source": picture.fingerprint, "order": time.time_ns(), **row}
            self._journal.write(json.dumps(said) + "\n")
            self._journal.flush()

    def _journals(self) -> list[Path]:
        return sorted(self._workspace.folder.glob("*.jsonl"))

    def _rows(self) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """Number of the journal, place in it, and row; a line that a kill cut is as if it were not there."""
        for number, path in enumerate(self._journals()):
            with path.open("rb") as journal:
                place = 0
                for line in journal:
                    row = _parse(line)
                    if row is not None:
                        yield number, place, row
                    place += len(line)

    def _index(self) -> dict[str, "_Entry"]:
        """Where the row of each picture stands that counts: the last one, but that of the same file no failure."""
        index: dict[str, _Entry] = {}
        for number, place, row in self._rows():
            entry = _Entry(row.get("order", 0), "failed" in row, hash(tuple(row.get("source", ()))), number, place)
            former = index.get(row["picture"])
            if former is None or entry.counts_before(former):
                index[row["picture"]] = entry
        return index

    def _read(self, index: Mapping[str, "_Entry"], names: Sequence[str]) -> Iterator[dict[str, Any]]:
        files = [path.open("rb") for path in self._journals()]
        try:
            for name in names:
                entry = index[name]
                files[entry.journal].seek(entry.place)
                yield _parse(files[entry.journal].readline()) or {}
        finally:
            for file in files:
                file.close()


@dataclass(frozen=True)
class _Entry:
    order: int
    failed: bool
    source: int
    journal: int
    place: int

    def counts_before(self, other: "_Entry") -> bool:
        if self.source == other.source and self.failed != other.failed:
            return other.failed
        return self.order >= other.order


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line.decode("utf-8", ANY_NAME))
    except ValueError:
        return None
    usable = isinstance(row, dict) and isinstance(row.get("picture"), str) and _is_usable(row)
    return row if usable else None


def _is_usable(row: Mapping[str, Any]) -> bool:
    lists: Collection[Any] = (row.get("source", []), row.get("kinds", []))
    return all(isinstance(each, list) and not any(isinstance(part, (list, dict)) for part in each) for each in lists) \
        and isinstance(row.get("order", 0), int)  # fmt: skip


def _write_table(place: Path, columns: Sequence[str], rows: Iterator[Mapping[str, Any]]) -> None:
    with atomic_write(place) as path, path.open("w", encoding="utf-8", errors=ANY_NAME, newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
