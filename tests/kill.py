"""A worker that dies in the middle of its work."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil


class WorkerKiller(threading.Thread):
    """As soon as `begun` says so, one child of this process that writes below `root` is killed; `killed` has its id."""

    def __init__(self, root: Path, begun: Callable[[], bool]) -> None:
        super().__init__(daemon=True)
        self.root, self.begun, self.killed = str(root), begun, 0

    def run(self) -> None:
        deadline = time.monotonic() + 300
        while not self.killed and time.monotonic() < deadline:
            if self.begun():
                writing = [child for child in psutil.Process().children(recursive=True) if self._writes(child)]
                if writing:
                    os.kill(writing[0].pid, signal.SIGKILL)
                    self.killed = writing[0].pid
            time.sleep(0.005)

    def _writes(self, child: psutil.Process) -> bool:
        try:
            return any(self.root in file.path for file in child.open_files())
        except psutil.Error:  # it just ended
            return False
