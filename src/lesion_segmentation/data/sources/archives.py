"""Sources that are a folder or a zip file, and temporary folders that a killed process does not leave for long."""

import lzma
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lesion_segmentation.core.atomic_files import is_alive
from lesion_segmentation.core.errors import InputError

MAX_UNPACKED_BYTES = 4 * 1024**3
MAX_ENTRIES = 100_000
_UNPACK_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError, OSError)
"""Errors of `zipfile` for a damaged file, or, with RuntimeError, an encrypted one."""
_TEMPORARY = re.compile(r"\.ph2-(\d+)-.*")


def open_source(source: Path, folder: Path) -> Path:
    """Return the source if it is a folder. Otherwise, unpack the zip file into the given folder and return that."""
    if source.is_dir():
        return source
    if source.suffix.lower() == ".rar":
        raise InputError(_explain_rar(source))
    if not source.exists():
        raise InputError(f"{source}: there is no such folder or file. Give the path of PH2 as a folder or a .zip file.")
    if not source.is_file() or not zipfile.is_zipfile(source):
        raise InputError(
            f"{source} is neither a folder nor a readable .zip file. Unpack it, then call make ph2 FROM=<folder>."
        )
    _unpack(source, folder)
    return folder


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Remove the temporary folders that killed processes left in `parent`, and yield a new one, removed at the end."""
    for left in parent.glob(".ph2-*"):
        found = _TEMPORARY.fullmatch(left.name)
        if found and not is_alive(int(found[1])):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".ph2-{os.getpid()}-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(source: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            entries = archive.infolist()
            _check_size(source, entries)
            for entry in entries:
                entry.filename = entry.filename.replace("\\", "/")  # some Windows programs write backslashes
            archive.extractall(folder, entries)  # it drops ".." and absolute paths
    except InputError:
        raise
    except _UNPACK_ERRORS as error:
        cause = str(error) or type(error).__name__
        raise InputError(
            f"{source} cannot be unpacked ({cause}). Download it again, or free some disk space."
        ) from error
    rars = [entry.filename for entry in entries if entry.filename.lower().endswith(".rar")]
    if rars and not any(entry.filename.lower().endswith(".bmp") for entry in entries):
        raise InputError(_explain_rar(source / rars[0]))


def _check_size(source: Path, entries: list[zipfile.ZipInfo]) -> None:
    size = sum(entry.file_size for entry in entries)
    if size > MAX_UNPACKED_BYTES or len(entries) > MAX_ENTRIES:
        raise InputError(
            f"{source} would unpack to {len(entries)} files of {size / 1024**3:.1f} GiB in total, but PH2 has about "
            "1,000 files of less than 1 GiB. Nothing was unpacked. Download the file again."
        )


def _explain_rar(path: Path) -> str:
    return (
        f"{path} is a RAR archive, which Python cannot open. Unpack it first (with unrar x, 7z x, or unar), then call "
        "make ph2 FROM=<folder>."
    )
