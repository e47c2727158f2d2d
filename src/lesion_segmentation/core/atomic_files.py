"""Atomic file writes, and small helpers for paths, processes and memory."""

import errno
import hashlib
import itertools
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lesion_segmentation.core.errors import InputError

_COUNTER = itertools.count()
_UNFINISHED: set[Path] = set()
_USER_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


@contextmanager
def atomic_write(path: Path, beside: Path | None = None) -> Iterator[Path]:
    """Yield the path of a temporary file, which replaces `path` when the block ends without an error.

    After an error, the temporary file is removed, and an existing file at `path` is unchanged. A lack of space or of
    permission, here or in the block, becomes an InputError. Missing folders are created.

    Args:
        path: The final file.
        beside: Path of the temporary file, on the same file system. If the process is killed, the caller has to remove
            this file. By default, it is a unique path in the same folder, and the next call for `path` removes the
            files of killed processes.
    """
    temporary = beside or path.with_name(f".{path.stem}.{os.getpid()}-{next(_COUNTER)}.partial{path.suffix}")
    _UNFINISHED.add(temporary)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if beside is None:
            _sweep(path)
        yield temporary
        os.replace(temporary, path)
    except Exception as error:
        cause = _find_user_error(error)
        if cause is None:
            raise
        raise InputError(_explain(path, cause)) from error
    finally:
        _remove(temporary)


def discard_unfinished() -> None:
    """Remove all temporary files of this process. Call it before a signal handler ends the process."""
    for temporary in list(_UNFINISHED):
        _remove(temporary)


def is_alive(pid: int) -> bool:
    """Return whether a process with this id is running on this machine."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


def expand_home(path: object) -> Path:
    """Return the path with a leading ~ replaced by the home folder."""
    try:
        return Path(str(path)).expanduser()
    except RuntimeError as error:
        raise InputError(f"{path}: there is no such user. Write the path without ~.") from error


def lock_file_of(place: Path | str) -> Path:
    """Return the path of the lock file of a data root or store, a temporary file named by a hash of its path or URI."""
    digest = hashlib.sha256(str(place).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"lesion-segmentation-{digest}.lock"


def existing_parent(path: Path) -> Path:
    """Return the nearest parent of `path` that exists and is visible to this user. It may be a file."""
    return next(folder for folder in path.absolute().parents if os.path.exists(folder))


def free_memory() -> int:
    """Return the available memory of this machine in bytes, or `sys.maxsize` if it is unknown."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():  # not Linux
        return sys.maxsize
    found = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text())
    return int(found[1]) * 1024 if found else sys.maxsize


def _remove(temporary: Path) -> None:
    with suppress(OSError):
        temporary.unlink(missing_ok=True)
    _UNFINISHED.discard(temporary)


def _sweep(path: Path) -> None:
    """Remove the temporary files that killed processes left when writing this file."""
    pattern = re.compile(rf"\.{re.escape(path.stem)}\.(\d+)-\d+\.partial{re.escape(path.suffix)}")
    for left in path.parent.glob(".*.partial*"):
        found = pattern.fullmatch(left.name)
        if found and not is_alive(int(found[1])):
            _remove(left)


def _find_user_error(error: BaseException | None) -> OSError | None:
    """Return the first error that a user can fix in a chain of causes, or None. Kedro's datasets wrap such errors."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _USER_ERRORS:
            return error
        error = error.__cause__ or error.__context__
    return None


def _explain(path: Path, error: OSError) -> str:
    remedy = "Get permission to write there."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(existing_parent(path)).free / 1024**2
        remedy = f"Only {free:.1f} MiB are free there. Free some space."
    return f"{path} cannot be written: {error.strerror}. An existing file is unchanged. {remedy}"
