"""Store for the predictions of many images, in a local folder or an object store."""

import hashlib
import itertools
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from lesion_segmentation.core.atomic_files import atomic_write, is_alive
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.storage import Location, explain_storage_errors, to_storage_path
from lesion_segmentation.prediction.description import COLUMNS
from lesion_segmentation.prediction.input_images import ImageFile, SelectedImages
from lesion_segmentation.prediction.tables import (
    PROVENANCE,
    PredictionTables,
    Row,
    encode_provenance,
    encode_rows,
    encode_table,
    find_newest_rows,
    parse_table,
    require_same_provenance,
)

TABLE, FAILURES, LEFT_OUT = "predictions.csv", "failures.csv", "left_out.csv"
FAILURE_COLUMNS = ["image", "reason"]
SEGMENTATION = "seg"
"""Kind of the DICOM segmentation, which DICOM images get besides the other kinds."""
WORK_FOLDER = ".predictions"
"""Subfolder for the part files and, on local disks, for the lock and unfinished files."""
MAX_ROWS, MAX_SECONDS = 200, 10.0
"""A part file is written when this number of rows wait, or when a row is added and the oldest one is this old."""
EXPORT_ATTEMPTS = 5
"""Maximum number of exports of the tables. They are repeated while other processes add part files."""
_UNFINISHED = "unfinished-"


class PredictionStore:
    """Masks as PNG files, and their rows in part files, which are merged into one table at the end.

    Any number of threads, processes and machines may write to one target if they write different images. An image is
    finished when its row is in a part file. A part file is written atomically, and only after the masks of all its
    rows. A killed process therefore loses only the rows that it has not flushed. Their images are predicted again, and
    the new masks have the same bytes. Methods raise an `InputError` if the disk is full or the storage cannot be used.

    Args:
        target: A local folder or a storage path, which `claim` creates.
    """

    def __init__(self, target: Location) -> None:
        # Absolute, since workers may have other working folders.
        self.target = target.absolute() if isinstance(target, Path) else target
        self.provenance: Mapping[str, Any] = {}
        self.kinds: list[str] = []
        self._folder = to_storage_path(target)
        self.is_local = self._folder.is_local
        self._writer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._numbers = itertools.count()
        self._waiting: list[dict[str, Any]] = []
        self._waiting_since = 0.0
        self._guard = threading.RLock()

    def claim(
        self, provenance: Mapping[str, Any], kinds: Sequence[str] = ("mask",), images: Sequence[ImageFile] = ()
    ) -> None:
        """Create the target, or check that its predictions have the same provenance.

        Args:
            provenance: Everything that the masks depend on. A target with another one is refused.
            kinds: Kinds of files per image: mask, and optionally overlay and probability.
            images: Images to predict. An `InputError` is raised if a new target has files with the names of their
                output files.
        """
        record = self._folder / PROVENANCE
        with self._locked():
            if not record.exists():
                names = (_name(image, kind) for image in images for kind in (*kinds, SEGMENTATION))
                self._require_no_other_files(names)
                if self.is_local:
                    self._write(PROVENANCE, encode_provenance(provenance))
                else:  # if two machines write a record at once, the first one is kept, and `join` compares it with ours
                    record.write(encode_provenance(provenance), exclusive=True)
            self.join(provenance, kinds)
            if self.is_local:
                with explain_storage_errors(self.target):
                    self._remove_unfinished()

    def join(self, provenance: Mapping[str, Any], kinds: Sequence[str] = ("mask",)) -> None:
        """Open a target that another process claimed. A missing target or another provenance raises an InputError."""
        try:
            with explain_storage_errors(self.target, FileNotFoundError):
                record = (self._folder / PROVENANCE).read()
        except FileNotFoundError as error:
            raise InputError(
                f"{self.target} does not exist on a worker. Workers must see the same folder as this machine, or OUT "
                "must be on shared storage such as s3://."
            ) from error
        require_same_provenance(self.target, record, provenance)
        self.provenance, self.kinds = provenance, sorted(kinds)

    def find_remaining(self, images: Sequence[ImageFile]) -> list[ImageFile]:
        """Return the images that are not finished, whose file has changed, or that lack a requested kind of output."""
        rows, kinds = self._read_rows(), frozenset(self.kinds)
        return [
            image
            for image in images
            if (row := rows.get(image.name)) is None
            or not kinds <= row.kinds
            or row.fingerprint != tuple(image.fingerprint)
        ]

    def write_images(self, image: ImageFile, files: Mapping[str, bytes]) -> None:
        """Write PNG files, keyed by their kind, as `<stem>_<kind>.png`, and a segmentation as `<stem>_seg.dcm`."""
        for kind, content in files.items():
            self._write(_name(image, kind), content)

    def add(self, image: ImageFile, row: Mapping[str, Any]) -> None:
        """Add the row of an image. All output files of the image must have been written before."""
        self._add(image, {"kinds": self.kinds, **row})

    def add_failure(self, image: ImageFile, reason: str) -> None:
        """Add the row of an image that could not be predicted. The next call predicts it again."""
        self._add(image, {"reason": reason})

    def flush(self) -> None:
        """Write the rows that are in memory to a part file."""
        with self._guard:
            if not self._waiting:
                return
            content = encode_rows(self._waiting)
            with explain_storage_errors(self.target):
                self._write(f"{WORK_FOLDER}/{hashlib.sha256(content).hexdigest()[:16]}.jsonl", content)
            self._waiting.clear()

    def finish(
        self,
        images: SelectedImages,
        make_files: Callable[[Sequence[Mapping[str, Any]]], Iterable[tuple[str, bytes]]] = lambda rows: (),
    ) -> tuple[int, int]:
        """Flush, and export the tables with the rows of all processes, sorted by image name.

        `make_files` returns further files, names and contents, for the rows of all finished images.

        Failures of images that are no longer in the input are dropped. Returns the numbers of selected images that are
        finished and that failed.
        """
        self.flush()
        listed = {image.name for image in images.listed}
        with self._locked():
            for _ in range(EXPORT_ATTEMPTS):
                parts = self._list_parts()
                rows = self._read_rows(parts)
                finished = sorted(name for name, row in rows.items() if row.kinds)
                failed = sorted(name for name, row in rows.items() if not row.kinds and name in listed)
                self._export(TABLE, COLUMNS, (rows[name] for name in finished))
                if failed or (self._folder / FAILURES).exists():
                    self._export(FAILURES, FAILURE_COLUMNS, (rows[name] for name in failed))
                for name, content in make_files([json.loads(rows[name].line) for name in finished]):
                    with explain_storage_errors(self.target):
                        self._write(name, content)
                if self._list_parts() == parts:
                    break
            if images.left_out or (self._folder / LEFT_OUT).exists():
                left_out = [{"image": name, "reason": reason} for name, reason in images.left_out.items()]
                with explain_storage_errors(self.target):
                    self._write(LEFT_OUT, encode_table(FAILURE_COLUMNS, left_out))
        selected = {image.name for image in images.files}
        return len(selected.intersection(finished)), len(selected.intersection(failed))

    def read_tables(self) -> PredictionTables:
        """Read the exported tables. Missing or damaged tables raise an InputError."""
        import pandas as pd

        failures = pd.DataFrame(columns=FAILURE_COLUMNS)
        try:
            with explain_storage_errors(self.target, FileNotFoundError, ValueError):
                table = parse_table((self._folder / TABLE).read())
                with suppress(FileNotFoundError):
                    failures = parse_table((self._folder / FAILURES).read())
        except FileNotFoundError as error:
            raise InputError(f"{self.target} contains no predictions: {TABLE} is missing.") from error
        except InputError:
            raise
        except ValueError as error:
            raise InputError(f"The tables in {self.target} are damaged ({error}). Predict again.") from error
        return PredictionTables(self.target, table, failures)

    def _require_no_other_files(self, names: Iterable[str]) -> None:
        if self.is_local:  # listing the folder could take long; os.path.exists is false for names that are too long
            taken = [name for name in names if os.path.exists(f"{self._folder.path}/{name}")]
        else:
            taken = sorted(self._folder.list().keys() & names)
        if taken:
            raise InputError.from_problems(
                f"{self.target} contains files that are not predictions and would be overwritten",
                taken,
                "Choose another folder.",
            )

    def _add(self, image: ImageFile, row: Mapping[str, Any]) -> None:
        identity = {"image": image.name, "fingerprint": image.fingerprint, "order": time.time_ns()}
        with self._guard:
            self._waiting_since = self._waiting_since if self._waiting else time.monotonic()
            self._waiting.append({**identity, **row})
            if len(self._waiting) >= MAX_ROWS or time.monotonic() - self._waiting_since >= MAX_SECONDS:
                self.flush()

    def _list_parts(self) -> list[str]:
        return sorted(name for name in (self._folder / WORK_FOLDER).list() if name.endswith(".jsonl"))

    def _read_rows(self, parts: Sequence[str] | None = None) -> dict[str, Row]:
        contents = (self._folder / WORK_FOLDER).read_all(self._list_parts() if parts is None else parts)
        return find_newest_rows(content for _, content in contents)

    def _export(self, name: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        with explain_storage_errors(self.target):
            self._write(name, encode_table(columns, (json.loads(row.line) for row in rows)))

    def _write(self, name: str, content: bytes) -> None:
        if not self.is_local:
            (self._folder / name).write(content)
            return
        # Unfinished files are kept apart from the masks, since finding them among millions would take long.
        unfinished = Path(self._folder.path, WORK_FOLDER, f"{_UNFINISHED}{self._writer}-{next(self._numbers)}")
        with atomic_write(Path(self._folder.path, name), unfinished) as path:
            path.write_bytes(content)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Exclude other processes that claim or finish a local target. Object stores have no locks."""
        if not self.is_local:
            yield
            return
        folder = Path(self._folder.path, WORK_FOLDER)
        with explain_storage_errors(self.target):
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / "lock")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _remove_unfinished(self) -> None:
        """Remove the unfinished files of killed processes on this machine."""
        prefix = f"{_UNFINISHED}{socket.gethostname()}-"
        for path in Path(self._folder.path, WORK_FOLDER).glob(f"{prefix}*"):
            pid = path.name.removeprefix(prefix).partition("-")[0]
            if pid.isdigit() and not is_alive(int(pid)):
                path.unlink(missing_ok=True)


def _name(image: ImageFile, kind: str) -> str:
    return f"{image.stem}_{kind}.{'dcm' if kind == SEGMENTATION else 'png'}"
