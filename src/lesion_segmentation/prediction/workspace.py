"""What the processes share that write a folder of predictions on this machine's file systems."""

import itertools
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from filelock import FileLock

from lesion_segmentation.core.atomic_files import atomic_write, is_alive

FOLDER = ".predictions"
PREFIX = "unfinished-"


class Workspace:
    """A folder in the folder of predictions: a lock, journals, and files before they are whole.

    Beside the masks unfinished files would have to be looked for among millions.

    Attributes:
        folder: Where it is.
        name: Of this process and object: no other's, on any machine.
    """

    def __init__(self, target: Path) -> None:
        self.folder = target / FOLDER
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._numbers = itertools.count()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Alone among the processes that write here."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "lock"):
            yield

    def atomic_write(self, path: Path) -> AbstractContextManager[Path]:
        """As files.atomic_write."""
        return atomic_write(path, self.folder / f"{PREFIX}{self.name}-{next(self._numbers)}{path.suffix}")

    def sweep(self) -> None:
        """Remove what processes of this machine left that were killed."""
        mine = f"{PREFIX}{socket.gethostname()}-"
        for path in self.folder.glob(f"{mine}*"):
            number = path.name.removeprefix(mine).partition("-")[0]
            if number.isdigit() and not is_alive(int(number)):
                path.unlink(missing_ok=True)
