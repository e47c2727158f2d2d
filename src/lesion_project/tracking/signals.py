"""A signal ends the run, whatever it hits, and the run says so."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, ClassVar

from lesion_segmentation.core.atomic_files import discard_unfinished

PATIENCE_SECONDS = 2.0
"""For the last words to MLflow: what the signal hit may hold a lock that they need."""

Handler = Callable[[int, FrameType | None], Any] | int | None


class SignalGuard:
    """While a run lasts, SIGTERM and Ctrl-C say that it was killed and then do what they do by default.

    An exception raised by a handler may be swallowed by whatever it hits, a weak reference's callback say, and the run
    would go on. In a notebook Ctrl-C stays an exception, since it must not end the kernel. Guards may be nested, as the
    runs of a cross-validation are: all of them speak.
    """

    _guards: ClassVar[list["SignalGuard"]] = []

    def __init__(self, say_killed: Callable[[], None]) -> None:
        self._say_killed = say_killed
        self._former: dict[int, Handler] = {}
        if threading.current_thread() is not threading.main_thread():
            return
        numbers = [signal.SIGTERM] if _is_interactive() else [signal.SIGTERM, signal.SIGINT]
        for number in numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._former[number] = signal.signal(number, self._end)
        self._guards.append(self)

    def release(self) -> None:
        """Give the signals back to whoever had them."""
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}
        if self in self._guards:
            self._guards.remove(self)

    def _end(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
        speakers = [threading.Thread(target=guard._say_killed, daemon=True) for guard in self._guards]
        for speaker in speakers:
            speaker.start()
        deadline = time.monotonic() + PATIENCE_SECONDS
        for speaker in speakers:
            speaker.join(max(0.0, deadline - time.monotonic()))
        discard_unfinished()
        os.kill(os.getpid(), number)


def _is_interactive() -> bool:
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules
