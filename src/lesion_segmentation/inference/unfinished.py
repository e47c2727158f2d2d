"""Files of a folder of predictions that are being written: whole, or swept by the next process."""

import itertools
import os
import secrets
import socket
from contextlib import AbstractContextManager
from pathlib import Path

from lesion_segmentation.files import is_alive, replacing

PREFIX = "unfinished-"


class Unfinished:
    """What this process writes in `folder`, before it takes its place elsewhere in the same file system.

    Beside the masks they would have to be looked for among millions of files.

    Attributes:
        name: Of this process and object: no other's, on any machine.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._numbers = itertools.count()

    def replacing(self, path: Path) -> AbstractContextManager[Path]:
        """As files.replacing."""
        return replacing(path, self.folder / f"{PREFIX}{self.name}-{next(self._numbers)}{path.suffix}")

    def sweep(self) -> None:
        """Remove what processes of this machine left that were killed."""
        mine = f"{PREFIX}{socket.gethostname()}-"
        for path in self.folder.glob(f"{mine}*"):
            number = path.name.removeprefix(mine).partition("-")[0]
            if number.isdigit() and not is_alive(int(number)):
                path.unlink(missing_ok=True)
