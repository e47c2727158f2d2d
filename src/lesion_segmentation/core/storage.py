"""Where pictures are and predictions go: paths of this machine, and places such as s3:// that fsspec reaches.

Keys are fsspec's business: they stand in its configuration (Kedro's side fills it from credentials.yml), in the
driver's variables or files, and travel to workers within the file system.
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

TOGETHER = 500
"""Files that are fetched at once, where a file system does that."""
_MARKS = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "updated", "mtime", "modified", "created")


@dataclass(frozen=True, slots=True)
class Place:
    """A file or folder of a file system that fsspec knows.

    Attributes:
        fs: The file system, with its keys, which are never shown.
        path: As the file system names it.
        url: As the user names it: of some kinds the path has no host.
    """

    fs: Any = field(repr=False, compare=False)
    path: str
    url: str = field(repr=False)

    def __str__(self) -> str:
        return hide_passwords(self.url)

    def __truediv__(self, name: str) -> "Place":
        return Place(self.fs, f"{self.path}/{name}", f"{self.url}/{name}")

    @property
    def is_local(self) -> bool:
        return isinstance(self.fs, LocalFileSystem)

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def exists(self) -> bool:
        with reaching(self):
            return bool(self.fs.exists(self.path))

    def read(self) -> bytes:
        """All of a file.

        Raises:
            FileNotFoundError, PermissionError: Of this file.
            InputError: The place cannot be reached.
        """
        with reaching(self, FileNotFoundError, PermissionError):
            return bytes(self.fs.cat_file(self.path))

    def write(self, content: bytes, once: bool = False) -> None:
        """All of a file, which object stores show when it is whole; `once` leaves one that is there as it is."""
        with reaching(self), suppress(FileExistsError):
            self.fs.pipe_file(self.path, content, **({"mode": "create"} if once else {}))

    def remove(self) -> None:
        """Of a file; one that is not there is no error."""
        with reaching(self), suppress(FileNotFoundError):
            self.fs.rm_file(self.path)

    def list(self) -> dict[str, Mapping[str, Any]]:
        """Every file below this folder, at any depth: its path from here, and what the file system knows of it.

        Of a single file its path from here is empty.
        """
        with reaching(self):
            self.fs.invalidate_cache()
            try:
                found = self.fs.find(self.path, detail=True)
            except FileNotFoundError:
                return {}
        below = self.path.rstrip("/") + "/"
        files = {path: known for path, known in found.items() if not path.endswith("/")}  # others only mark folders
        return {"" if path == self.path else path.removeprefix(below): known for path, known in files.items()}

    def read_all(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Files below this folder, several at once; those that are gone are left out."""
        for first in range(0, len(names), TOGETHER):
            some = names[first : first + TOGETHER]
            paths = [f"{self.path}/{name}" for name in some]
            with reaching(self):
                found = self.fs.cat_ranges(paths, [None] * len(some), [None] * len(some), on_error="return")
                for name, content in zip(some, found, strict=True):
                    if isinstance(content, FileNotFoundError):
                        continue
                    if isinstance(content, Exception):
                        raise content
                    yield name, content


Location = Path | Place


def find_location(text: str) -> Location:
    """The path or place that a user names.

    Raises:
        InputError: No installed package supports this protocol, or the address cannot be used.
    """
    if "://" not in text:
        return expand_home(text)
    try:
        with explain_missing_extras():
            fs, path = fsspec.core.url_to_fs(text)
    except InputError:  # the extra is missing
        raise
    except Exception as error:  # some packages connect at once, each with its own errors
        raise InputError(
            f"{hide_passwords(text)} cannot be used ({first_line(error)}). Look at its address and keys, and whether "
            "the package for such places is installed."
        ) from error
    place = Place(fs, str(path).rstrip("/"), text.rstrip("/"))
    return Path(place.path) if place.is_local else place


def place_of(location: Location) -> Place:
    """A location as fsspec names it."""
    if isinstance(location, Place):
        return location
    path = location.absolute().as_posix()
    return Place(LocalFileSystem(), path, path)


def is_within(location: Location, folder: Location) -> bool:
    """Whether it is the folder, or lies in it."""
    if isinstance(location, Path) and isinstance(folder, Path):
        return location.resolve().is_relative_to(folder.resolve())
    if isinstance(location, Path) or isinstance(folder, Path) or location.fs != folder.fs:
        return False
    return f"{location.path}/".startswith(f"{folder.path}/")


def fingerprint(known: Mapping[str, Any]) -> tuple[int, int]:
    """What tells a file from another one of its name: bytes, and a sum of what its file system says of the change."""
    marks = [f"{name}={known[name]}" for name in _MARKS if known.get(name) is not None]
    return int(known.get("size") or 0), zlib.crc32(" ".join(marks).encode())


def hide_passwords(text: str) -> str:
    """An address without the password that may stand in it."""
    return re.sub(r"(://[^:/@\s]*):[^@/\s]*@", r"\1:***@", text)


@contextmanager
def reaching(place: Place, *own: type[Exception]) -> Iterator[None]:
    """What a file system raises, in a sentence, but for its own errors that the caller knows.

    Raises:
        InputError: Of whatever else is wrong: each driver has its own errors.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (InputError, *own)):
            raise
        raise InputError(
            f"{place} cannot be reached ({first_line(error)}). Look at its address and keys; what is done is kept, "
            "and the same command goes on."
        ) from error
