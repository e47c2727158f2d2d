"""What is told to MLflow: sent at once, or kept and sent later, so that no training dies of its tracking."""

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lesion_segmentation.core.atomic_files import atomic_write
from lesion_segmentation.core.errors import InputError, first_line

logger = logging.getLogger(__name__)

Message = Mapping[str, Any]
"""A thing to be told, as plain JSON values: `kind`, and what belongs to it."""
Send = Callable[[Message], None]
STORE_IS_AWAY = 2
"""After so many failures no more messages are tried for the moment."""


class PendingCalls:
    """Messages to be sent; one that cannot be sent waits for the next try and does not hold up the others."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: list[Message] = []
        self._lock = threading.Lock()

    @property
    def waiting(self) -> list[Message]:
        """What is not sent yet."""
        return list(self._waiting)

    def put(self, message: Message) -> None:
        """Send it, after all that waits; never fails."""
        with self._lock:
            self._waiting.append(message)
            error = self._try_all()
            first = len(self._waiting) == 1
        if error is not None and first:
            logger.warning(
                "MLflow does not take what it is told (%s). The run goes on, and keeps it.", first_line(error)
            )

    def flush(self) -> Exception | None:
        """Try again; gives what hinders it, if anything does."""
        with self._lock:
            return self._try_all()

    def _try_all(self) -> Exception | None:
        failed: list[Message] = []
        problem: Exception | None = None
        while self._waiting and len(failed) < STORE_IS_AWAY:
            message = self._waiting.pop(0)
            try:
                with without_retries():
                    self._send(message)
            except Exception as error:  # whatever the store is, and whatever it lacks just now
                failed.append(message)
                problem = problem or error
        self._waiting = failed + self._waiting
        return problem


@contextmanager
def without_retries() -> Iterator[None]:
    """MLflow tries an HTTP server again for minutes by default: here it tries once, for ten seconds at most."""
    quick = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    before = {key: os.environ.get(key) for key in quick}
    os.environ.update(quick)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key, None) if value is None else os.environ.update({key: value})


def write_unsent(path: Path, tracking_uri: str, run_id: str, messages: list[Message]) -> None:
    """Keep messages in a file that `kedro send-run` sends."""
    with atomic_write(path) as temporary:
        content = {"tracking_uri": tracking_uri, "run_id": run_id, "messages": messages}
        temporary.write_text(json.dumps(content, indent=1))


def read_unsent(path: Path) -> tuple[str, str, list[Message]]:
    """Tracking URI, run id and messages of such a file.

    Raises:
        InputError: It is none.
    """
    try:
        content = json.loads(path.read_text())
        return str(content["tracking_uri"]), str(content["run_id"]), list(content["messages"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no file of unsent messages ({first_line(error)}). A run names its own.") from error
