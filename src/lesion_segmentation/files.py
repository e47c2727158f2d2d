"""Files that are whole or not there: written beside, then renamed over what an earlier run left."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lesion_segmentation.errors import InputError

_USERS_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place only when all was written.

    Raises:
        InputError: There is no space or no permission; what stood at `path` is as it was.
    """
    name = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        os.close(handle)
        yield Path(name)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError as error:
        if error.errno not in _USERS_ERRORS:
            raise
        raise InputError(_explain(path, error)) from error
    finally:
        if name is not None:
            Path(name).unlink(missing_ok=True)


def existing_parent(path: Path) -> Path:
    """The nearest folder above `path` that exists."""
    return next(folder for folder in path.absolute().parents if folder.exists())


def _explain(path: Path, error: OSError) -> str:
    remedy = "Get permission to write there, or name another folder with --params data_root=<folder>."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(existing_parent(path)).free / 1024**2
        remedy = f"{free:.1f} MiB are free there. Free some space, or use --params data_root=<folder>."
    return f"{path} cannot be written: {error.strerror}. What an earlier run left there is unchanged. {remedy}"
