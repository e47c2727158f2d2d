"""Local paths and fsspec addresses such as s3://bucket/folder.

Credentials stay in fsspec's configuration (the Kedro project fills it from credentials.yml) or in the variables and
files of the driver; the file system carries them to workers.
"""

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from lesion_segmentation.core.atomic_files import expand_home
from lesion_segmentation.core.errors import InputError, first_line
from lesion_segmentation.core.extras import explain_missing_extras

FETCHED_TOGETHER = 500
"""Number of files per request batch on file systems that fetch concurrently."""
_MARKS_OF_CHANGE = (
    "ETag", "etag", "md5Hash", "LastModified", "last_modified", "updated", "mtime", "modified", "created",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoragePath:
    """A file or folder on a file system that fsspec supports, local disks included.

    Attributes:
        fs: The file system with its credentials, which are never shown.
        path: The path in the notation of the file system.
        url: The address as the user wrote it. On some file systems `path` lacks the host.
    """

    fs: Any = field(repr=False, compare=False)
    path: str
    url: str = field(repr=False)

    def __str__(self) -> str:
        return hide_passwords(self.url)

    def __truediv__(self, name: str) -> "StoragePath":
        return StoragePath(self.fs, f"{self.path}/{name}", f"{self.url}/{name}")

    @property
    def is_local(self) -> bool:
        return isinstance(self.fs, LocalFileSystem)

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def exists(self) -> bool:
        with explain_storage_errors(self):
            return bool(self.fs.exists(self.path))

    def read(self) -> bytes:
        """Return the content of a file. All errors except FileNotFoundError and PermissionError become InputErrors."""
        with explain_storage_errors(self, FileNotFoundError, PermissionError):
            return bytes(self.fs.cat_file(self.path))

    def write(self, content: bytes, exclusive: bool = False) -> None:
        """Write a whole file. Object stores show it only when it is complete.

        If `exclusive`, an existing file is kept instead of replaced, also if two processes write at once.
        """
        with explain_storage_errors(self), suppress(FileExistsError):
            self.fs.pipe_file(self.path, content, **({"mode": "create"} if exclusive else {}))

    def list(self) -> dict[str, Mapping[str, Any]]:
        """Map the relative path of every file below this folder, at any depth, to its metadata.

        The result is empty for a missing folder. For a single file, the only key is the empty string.
        """
        found: dict[str, Mapping[str, Any]] = {}
        with explain_storage_errors(self), suppress(FileNotFoundError):
            self.fs.invalidate_cache()
            found = self.fs.find(self.path, detail=True)
        below = self.path.rstrip("/") + "/"
        files = {path: info for path, info in found.items() if not path.endswith("/")}  # the rest only mark folders
        return {"" if path == self.path else path.removeprefix(below): info for path, info in files.items()}

    def read_all(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yield name and content of files below this folder, fetched concurrently. Missing files are skipped."""
        for first in range(0, len(names), FETCHED_TOGETHER):
            batch = names[first : first + FETCHED_TOGETHER]
            paths = [f"{self.path}/{name}" for name in batch]
            with explain_storage_errors(self):
                found = self.fs.cat_ranges(paths, [None] * len(batch), [None] * len(batch), on_error="return")
                for name, content in zip(batch, found, strict=True):
                    if isinstance(content, FileNotFoundError):
                        continue
                    if isinstance(content, Exception):
                        raise content
                    yield name, content


Location = Path | StoragePath


def find_location(text: str) -> Location:
    """Return the local path or the storage path that a user names. An unusable address raises an InputError."""
    if "://" not in text:
        return expand_home(text)
    with explain_storage_errors(hide_passwords(text)), explain_missing_extras():  # some drivers connect immediately
        fs, path = fsspec.core.url_to_fs(text)
    found = StoragePath(fs, str(path).rstrip("/"), text.rstrip("/"))
    return Path(found.path) if found.is_local else found


def to_storage_path(location: Location) -> StoragePath:
    """Return a location as a path of fsspec. Local paths become absolute, since workers have other working folders."""
    if isinstance(location, StoragePath):
        return location
    path = location.absolute().as_posix()
    return StoragePath(LocalFileSystem(), path, path)


def is_within(location: Location, folder: Location) -> bool:
    """Return whether the location is the folder itself or lies in it."""
    if isinstance(location, Path) and isinstance(folder, Path):
        return location.resolve().is_relative_to(folder.resolve())
    if isinstance(location, Path) or isinstance(folder, Path) or location.fs != folder.fs:
        return False
    return f"{location.path}/".startswith(f"{folder.path}/")


def fingerprint(info: Mapping[str, Any]) -> tuple[int, int]:
    """Return size in bytes and a checksum of the marks of change in a file's metadata, such as its ETag.

    Files with the same name but different content differ in at least one of the two.
    """
    marks = [f"{name}={info[name]}" for name in _MARKS_OF_CHANGE if info.get(name) is not None]
    return int(info.get("size") or 0), zlib.crc32(" ".join(marks).encode())


def hide_passwords(text: str) -> str:
    """Replace the password in an address by three asterisks, or the token in front of the host of a web address."""
    text = re.sub(r"(https?://)[^:/@\s]+@", r"\1***@", text)
    return re.sub(r"(://[^:/@\s]*):[^@/\s]*@", r"\1:***@", text)


@contextmanager
def explain_storage_errors(location: object, *passed: type[Exception]) -> Iterator[None]:
    """Turn any error of a file system, except the types in `passed`, into an InputError. Each driver has its own."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (InputError, *passed)):
            raise
        raise InputError(
            f"{location} cannot be used ({first_line(error)}). Check the address, the permissions and the credentials. "
            "Finished work is kept: rerun the same command to resume."
        ) from error
