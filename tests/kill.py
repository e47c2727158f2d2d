"""A worker that dies in the middle of its work."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil


class WorkerKiller(threading.Thread):
    """Kills the process that `choose` gives, as soon as it gives one; `killed` has its id."""

    def __init__(self, choose: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self.choose, self.killed = choose, 0

    def run(self) -> None:
        deadline = time.monotonic() + 300
        while not self.killed and time.monotonic() < deadline:
            if found := self.choose():
                os.kill(found, signal.SIGKILL)
                self.killed = found
            time.sleep(0.005)


def child_that_writes(root: Path, begun: Callable[[], bool]) -> Callable[[], int]:
    """Of this process, below `root`, as soon as `begun` says so."""

    def choose() -> int:
        children = psutil.Process().children(recursive=True) if begun() else []
        return next((child.pid for child in children if _writes(child, root)), 0)

    return choose


def _writes(child: psutil.Process, root: Path) -> bool:
    try:
        return any(str(root) in file.path for file in child.open_files())
    except psutil.Error:  # it just ended
        return False
