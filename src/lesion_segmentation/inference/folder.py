"""A folder of predictions: whole files, a journal of what is done, and tables that are made of it."""

import csv
import json
import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock
from PIL import Image

from lesion_segmentation.errors import InputError
from lesion_segmentation.files import is_alive, replacing
from lesion_segmentation.inference.description import COLUMNS
from lesion_segmentation.inference.pictures import PictureFile

JOURNALS = ".predictions"
MADE_BY = "predictions.json"
TABLE, FAILURES = "predictions.csv", "failures.csv"
FORMAT_VERSION = 1
LONG = 600
"""Seconds after which nobody still writes a file that has not been finished."""


class PredictionFolder:
    """Where predictions go; several processes may write to it, each its own part of the pictures.

    A picture is done when its line stands in a journal, which happens after all its files are whole. So whatever kills
    a process, the next one goes on with the pictures that have no line.

    Args:
        target: The folder, made if it is not there.
        made_by: What the masks depend on: a folder holds those of one network and one way of cutting.
    """

    def __init__(self, target: Path, made_by: Mapping[str, Any]) -> None:
        self.target, self.made_by = target, {"format_version": FORMAT_VERSION, **made_by}
        self._journal: Any = None

    def claim(self) -> None:
        """Make the folder, or see that it is of the same network.

        Raises:
            InputError: It is of another network or threshold, or cannot be written.
        """
        if self.target.exists() and not self.target.is_dir():
            raise InputError(f"{self.target} is a file, expected a folder for the masks.")
        try:
            (self.target / JOURNALS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.target} cannot be made: {error.strerror}") from error
        place = self.target / MADE_BY
        with FileLock(self.target / JOURNALS / "lock"):
            if not place.is_file():
                with replacing(place) as path:
                    path.write_text(json.dumps(self.made_by, indent=2))
        found = _read_record(place)
        differ = [
            f"{name}: {found.get(name)} there, {self.made_by.get(name)} now"
            for name in sorted({*found, *self.made_by})
            if found.get(name) != self.made_by.get(name)
        ]
        if differ:
            raise InputError.from_problems(
                f"{self.target} holds masks that were made in another way", differ, "Name another folder."
            )
        self._sweep()

    def done(self) -> set[str]:
        """Names of the pictures that need not be predicted again."""
        return {row["picture"] for row in self._rows() if "failed" not in row}

    def left(self, pictures: Sequence[PictureFile]) -> list[PictureFile]:
        """Those that are not done."""
        done = self.done()
        return [picture for picture in pictures if picture.name not in done]

    def write_files(self, picture: PictureFile, arrays: Mapping[str, np.ndarray]) -> None:
        """Write the pictures `<stem>_<kind>.png` of uint8 arrays; any thread may.

        Raises:
            InputError: The disk is full, or there is no permission.
        """
        for kind, array in arrays.items():
            place = self.target / f"{picture.stem}_{kind}.png"
            with replacing(place, sweep=False) as path:
                Image.fromarray(array).save(path, "PNG", compress_level=1)

    def note(self, picture: PictureFile, row: Mapping[str, Any]) -> None:
        """Note that a picture is done, once all its files are there."""
        self._note({"picture": picture.name, **row})

    def fail(self, picture: PictureFile, reason: str) -> None:
        """Note that a picture could not be predicted; the next call tries again."""
        self._note({"picture": picture.name, "failed": reason})

    def finish(self) -> tuple[int, int]:
        """Write the tables of all parts; gives the numbers of pictures that are done and that failed."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        with FileLock(self.target / JOURNALS / "lock"):
            last = {row["picture"]: row for row in self._rows()}
            done = [last[name] for name in sorted(last) if "failed" not in last[name]]
            failed = [last[name] for name in sorted(last) if "failed" in last[name]]
            _write_table(self.target / TABLE, COLUMNS, done)
            reasons = [{"picture": row["picture"], "reason": row["failed"]} for row in failed]
            if reasons or (self.target / FAILURES).exists():
                _write_table(self.target / FAILURES, ("picture", "reason"), reasons)
        return len(done), len(failed)

    def _note(self, row: Mapping[str, Any]) -> None:
        if self._journal is None:
            place = self.target / JOURNALS / f"{_this_machine()}{os.getpid()}.jsonl"
            self._journal = place.open("a", encoding="utf-8")
        self._journal.write(json.dumps(row) + "\n")
        self._journal.flush()

    def _rows(self) -> list[dict[str, Any]]:
        """Of all journals; a line that a kill cut is as if it were not there."""
        rows: list[dict[str, Any]] = []
        journals = sorted((self.target / JOURNALS).glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
        for journal in journals:
            for line in journal.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    row = json.loads(line)
                except ValueError:
                    continue
                if isinstance(row, dict) and "picture" in row:
                    rows.append(row)
        return rows

    def _sweep(self) -> None:
        """Remove what killed writers left; where other machines write, too, only what is old."""
        others = [
            path for path in (self.target / JOURNALS).glob("*.jsonl") if not path.name.startswith(_this_machine())
        ]
        for path in self.target.rglob(".*.partial*"):
            number = path.name.partition(".partial")[0].rpartition(".")[2].partition("-")[0]
            dead = number.isdigit() and not is_alive(int(number))
            if dead and (not others or time.time() - path.stat().st_mtime > LONG):
                path.unlink(missing_ok=True)


@dataclass(frozen=True)
class PredictionTables:
    """What a folder of predictions holds: where it is, a row a picture, and picture and reason of those that failed."""

    target: Path
    table: pd.DataFrame
    failures: pd.DataFrame


def read_tables(target: Path) -> PredictionTables:
    """The tables that finish wrote.

    Raises:
        InputError: They are not there.
    """
    if not (target / TABLE).is_file():
        raise InputError(f"{target} holds no predictions: {TABLE} is missing.")
    texts = {"picture": str, "flag": str}
    table = pd.read_csv(target / TABLE, dtype=texts, keep_default_na=False, na_values={"left": "", "top": ""})
    failures = target / FAILURES
    failed = pd.read_csv(failures, dtype=str) if failures.is_file() else pd.DataFrame(columns=["picture", "reason"])
    return PredictionTables(target, table, failed)


def _this_machine() -> str:
    return f"{socket.gethostname()}-"


def _read_record(place: Path) -> dict[str, Any]:
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{place} is damaged ({error}). Name another folder, or remove this one.") from error
    if not isinstance(found, dict):
        raise InputError(f"{place} is damaged: no mapping. Name another folder, or remove this one.")
    return found


def _write_table(place: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    with replacing(place) as path, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
