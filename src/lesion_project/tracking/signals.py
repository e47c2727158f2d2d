"""Signal handling: SIGTERM and Ctrl-C end a run reliably and set its status in MLflow to KILLED."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, ClassVar

from lesion_segmentation.core.atomic_files import discard_unfinished
from lesion_segmentation.core.errors import pluralize

PATIENCE_SECONDS = 2.0
"""Time limit for the last request to MLflow: the interrupted code may hold a lock that the request needs."""

Handler = Callable[[int, FrameType | None], Any] | int | None


class SignalGuard:
    """Handler of SIGTERM and Ctrl-C during a run: report the run as killed, then apply the signal's default action.

    An exception from a handler would not be reliable: the interrupted code, such as the callback of a weak reference,
    may swallow it, and the run would continue. In a notebook Ctrl-C stays an exception, since it must not end the
    kernel. Guards may be nested, like the runs of a cross-validation: each of them reports, and the outermost explains
    to the user what was kept.
    """

    _guards: ClassVar[list["SignalGuard"]] = []

    def __init__(self, report_killed: Callable[[], None], explain: Callable[[], str] = str) -> None:
        self._report_killed, self._explain = report_killed, explain
        self._former: dict[int, Handler] = {}
        if threading.current_thread() is not threading.main_thread():
            return
        numbers = [signal.SIGTERM] if _is_interactive() else [signal.SIGTERM, signal.SIGINT]
        for number in numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._former[number] = signal.signal(number, self._end)
        self._guards.append(self)

    def release(self) -> None:
        """Restore the previous handlers."""
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}
        if self in self._guards:
            self._guards.remove(self)

    def _end(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second signal ends the process immediately
        os.write(2, f"\n{self._guards[0]._explain()}\n".encode())  # the interrupted code may hold the lock of stderr
        reports = [threading.Thread(target=guard._report_killed, daemon=True) for guard in self._guards]
        for report in reports:
            report.start()
        deadline = time.monotonic() + PATIENCE_SECONDS
        for report in reports:
            report.join(max(0.0, deadline - time.monotonic()))
        discard_unfinished()
        os.kill(os.getpid(), number)


def explain_interruption(load_training: Callable[[], Mapping[str, Any]], resuming: str) -> str:
    """Say what an interrupted run kept, and how to continue. `load_training` returns the `checkpoint_file`, if any."""
    file = load_training().get("checkpoint_file")
    if file is None or not file.epochs:
        return "Interrupted. Finished files are kept. Run the same command again for the others."
    return f"Interrupted. {file.path} has {pluralize(file.epochs, 'epoch')}. To resume the training, run: {resuming}"


def _is_interactive() -> bool:
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules
