"""Pending tracking calls: sent to MLflow at once or kept in memory for later, so that an outage ends no training."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lesion_segmentation.core.errors import first_line

logger = logging.getLogger(__name__)

Call = Callable[[], object]
FAILURES_OF_AN_OUTAGE = 2
"""After this many failures the store counts as unreachable, and the calls behind are not attempted for now."""


class PendingCalls:
    """Queue of calls to MLflow. A call that fails is repeated later and does not hold up the others."""

    def __init__(self) -> None:
        self._waiting: list[Call] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, call: Call) -> None:
        """Add a call and send everything that waits. Failures of the store are logged, not raised."""
        with self._lock:
            self._waiting.append(call)
            error = self._send_all()
            first = len(self._waiting) == 1
        if error is not None and first:
            logger.warning(
                "MLflow's store does not accept an entry (%s). The run continues and sends it later.", first_line(error)
            )

    def flush(self) -> Exception | None:
        """Send everything that waits. Return the first error, or None if nothing waits any longer."""
        with self._lock:
            return self._send_all()

    def _send_all(self) -> Exception | None:
        failed: list[Call] = []
        problem: Exception | None = None
        while self._waiting and len(failed) < FAILURES_OF_AN_OUTAGE:
            call = self._waiting.pop(0)
            try:
                with without_retries():
                    call()
            except Exception as error:  # stores and their drivers raise errors of many kinds
                failed.append(call)
                problem = problem or error
        self._waiting = failed + self._waiting
        return problem


@contextmanager
def without_retries() -> Iterator[None]:
    """Limit each request to one attempt of ten seconds. By default MLflow retries an HTTP server for minutes."""
    quick = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    before = {key: os.environ.get(key) for key in quick}
    os.environ.update(quick)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key, None) if value is None else os.environ.update({key: value})
