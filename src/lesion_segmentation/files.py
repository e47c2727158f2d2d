"""Files that are whole or not there: written beside, then renamed over what an earlier run left."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lesion_segmentation.errors import InputError

_USERS_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place only when all was written.

    Raises:
        InputError: There is no space or no permission; what stood at `path` is as it was.
    """
    # One name, so that what a kill left is overwritten by the next attempt.
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except Exception as error:
        cause = _users_error(error)
        if cause is None:
            raise
        raise InputError(_explain(path, cause)) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


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
