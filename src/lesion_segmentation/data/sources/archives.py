"""A folder, or a zip as a folder; and workspaces beside a target that nobody leaves behind."""

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
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
)
"""What reading a damaged zip may raise; RuntimeError where it is encrypted."""
_WORKSPACE = re.compile(r"\.ph2-(\d+)-.*")


@contextmanager
def opened(source: Path, scratch: Path) -> Iterator[Path]:
    """The source as a folder; a zip is unpacked below `scratch` for as long as it is needed.

    Raises:
        InputError: It is neither, it is damaged, or it would write outside or too much.
    """
    if source.is_dir():
        yield source
    elif source.suffix.lower() == ".rar":
        raise InputError(_about_rar(source))
    elif not source.exists():
        raise InputError(f"{source}: no such folder or file. Expected PH2 as a folder or a .zip")
    elif not source.is_file() or not zipfile.is_zipfile(source):
        raise InputError(f"{source} is neither a folder nor a readable .zip. Unpack it, then: make ph2 FROM=<folder>")
    else:
        with workspace(scratch) as folder:
            _unpack(source, folder)
            yield folder


@contextmanager
def workspace(parent: Path) -> Iterator[Path]:
    """A folder in `parent`, removed afterwards whatever happens; what killed processes left there is removed first."""
    for left in parent.glob(".ph2-*"):
        found = _WORKSPACE.fullmatch(left.name)
        if found and not is_alive(int(found[1])):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".ph2-{os.getpid()}-", dir=parent))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(source: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            entries = archive.infolist()
            for entry in entries:
                entry.filename = entry.filename.replace("\\", "/")  # as Windows may write it
            _check_entries(source, entries, folder)
            for entry in entries:
                archive.extract(entry, folder)
    except _BROKEN as error:
        if isinstance(error, InputError):
            raise
        cause = str(error) or type(error).__name__
        raise InputError(
            f"{source} cannot be unpacked ({cause}). Download it again, or free some disk space."
        ) from error
    rars = [entry.filename for entry in entries if entry.filename.lower().endswith(".rar")]
    if rars and not any(entry.filename.lower().endswith(".bmp") for entry in entries):
        raise InputError(_about_rar(source / rars[0]))


def _check_entries(source: Path, entries: list[zipfile.ZipInfo], folder: Path) -> None:
    escaping = [
        entry.filename for entry in entries if not (folder / entry.filename).resolve().is_relative_to(folder.resolve())
    ]
    if escaping:
        raise InputError.from_problems(
            f"{source}: entries that would be written outside the target",
            escaping,
            "Nothing was unpacked. Do not trust this file.",
        )
    size = sum(entry.file_size for entry in entries)
    if size > MAX_UNPACKED_BYTES or len(entries) > MAX_ENTRIES:
        raise InputError(
            f"{source}: would unpack to {len(entries)} files of {size / 1024**3:.1f} GiB; PH2 has about 1,000 of less "
            "than 1. Nothing was unpacked."
        )


def _about_rar(path: Path) -> str:
    return (
        f"{path} is a RAR archive, which Python cannot open. Unpack it first (unrar x, 7z x, or unar), "
        "then: make ph2 FROM=<the folder it made>"
    )
