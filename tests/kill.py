"""Kill worker processes in the middle of their work."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil


class WorkerKiller(threading.Thread):
    """Thread that kills the first process whose id `choose` returns.

    Attributes:
        killed: Id of the killed process, or 0.
    """

    def __init__(self, choose: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self.choose, self.killed = choose, 0

    def run(self) -> None:
        deadline = time.monotonic() + 300
        while not self.killed and time.monotonic() < deadline:
            if process_id := self.choose():
                os.kill(process_id, signal.SIGKILL)
                self.killed = process_id
            time.sleep(0.005)


def find_writing_child(root: Path, has_started: Callable[[], bool]) -> Callable[[], int]:
    """Return a function that finds a child process with an open file below `root`, once `has_started` returns True."""

    def choose() -> int:
        children = psutil.Process().children(recursive=True) if has_started() else []
        return next((child.pid for child in children if _writes(child, root)), 0)

    return choose


def find_busiest_child(has_started: Callable[[], bool]) -> Callable[[], int]:
    """Return a function that finds the child process with the most processor time, once `has_started` returns True.

    Workers that predict keep no file open, so they cannot be found by their files.
    """

    def choose() -> int:
        children = psutil.Process().children(recursive=True) if has_started() else []
        return max(children, key=_measure_seconds).pid if children else 0

    return choose


def _measure_seconds(child: psutil.Process) -> float:
    try:
        return float(child.cpu_times().user)
    except psutil.Error:  # the process has just ended
        return 0.0


def _writes(child: psutil.Process, root: Path) -> bool:
    try:
        return any(str(root) in file.path for file in child.open_files())
    except psutil.Error:  # the process has just ended
        return False
