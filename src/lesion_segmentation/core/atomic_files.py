"""Files that are whole or not there: written beside, then renamed over what an earlier run left."""

import errno
import itertools
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lesion_segmentation.core.errors import InputError

_COUNTER = itertools.count()
_UNFINISHED: set[Path] = set()
_USERS_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


@contextmanager
def atomic_write(path: Path, beside: Path | None = None) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place only when all was written.

    Args:
        path: Of the file.
        beside: The temporary file, in the same file system; whoever names one removes what a kill leaves of it.

    Raises:
        InputError: There is no space or no permission; what stood at `path` is as it was.
    """
    # A name of its own, so that two writers do not meet; what a kill left is swept by the next one.
    temporary = beside or path.with_name(f".{path.stem}.{os.getpid()}-{next(_COUNTER)}.partial{path.suffix}")
    _UNFINISHED.add(temporary)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if beside is None:
            _sweep(path)
        yield temporary
        os.replace(temporary, path)
    except Exception as error:
        cause = _users_error(error)
        if cause is None:
            raise
        raise InputError(_explain(path, cause)) from error
    finally:
        _remove(temporary)


def discard_unfinished() -> None:
    """Remove the temporary files of this process: it is about to be ended."""
    for temporary in list(_UNFINISHED):
        _remove(temporary)


def is_alive(pid: int) -> bool:
    """Whether there is a process of this number on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def expand_home(path: object) -> Path:
    """The path with ~ as the user's home.

    Raises:
        InputError: It begins with ~ and the name of nobody.
    """
    try:
        return Path(str(path)).expanduser()
    except RuntimeError as error:
        raise InputError(f"{path}: there is no such user. Write the path without ~.") from error


def free_memory() -> int:
    """Bytes that a process may still take on this machine, as far as it says so."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():  # no Linux
        return sys.maxsize
    found = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text())
    return int(found[1]) * 1024 if found else sys.maxsize


def _remove(temporary: Path) -> None:
    with suppress(OSError):
        temporary.unlink(missing_ok=True)
    _UNFINISHED.discard(temporary)


def _sweep(path: Path) -> None:
    """Remove what writers of this file left that were killed."""
    pattern = re.compile(rf"\.{re.escape(path.stem)}\.(\d+)-\d+\.partial{re.escape(path.suffix)}")
    for left in path.parent.glob(".*.partial*"):
        found = pattern.fullmatch(left.name)
        if found and not is_alive(int(found[1])):
            _remove(left)


def existing_parent(path: Path) -> Path:
    """The nearest folder above `path` that exists, as far as may be seen."""
    return next(folder for folder in path.absolute().parents if os.path.exists(folder))


def _users_error(error: BaseException | None) -> OSError | None:
    """The cause that a user can mend; Kedro's datasets wrap it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _USERS_ERRORS:
            return error
        error = error.__cause__ or error.__context__
    return None


def _explain(path: Path, error: OSError) -> str:
    remedy = "Get permission to write there."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(existing_parent(path)).free / 1024**2
        remedy = f"{free:.1f} MiB are free there: free some space."
    return f"{path} cannot be written: {error.strerror}. What an earlier run left there is unchanged. {remedy}"
