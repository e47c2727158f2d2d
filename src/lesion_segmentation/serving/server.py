"""The service run by uvicorn."""

import asyncio
import logging
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.prediction import Predictor
from lesion_segmentation.serving.app import create_app
from lesion_segmentation.serving.service import ServiceSettings

HEADER_SECONDS = 10.0
"""Seconds after which a connection without complete request headers is closed. uvicorn would wait forever."""


class TimeoutProtocol(H11Protocol):
    """HTTP/1.1 that closes connections on which request headers do not arrive within HEADER_SECONDS."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    @property
    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        if self._is_busy:
            self._stop_watching()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(HEADER_SECONDS, self._close_if_idle)

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _close_if_idle(self) -> None:
        self._timer = None
        if not self._is_busy and not self.transport.is_closing():
            self.transport.close()


def require_free_port(host: str, port: int) -> None:
    """Raise an `InputError` if the service cannot listen there, which uvicorn only logs."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]  # Python adds the address
        raise InputError(
            f"The service cannot listen on {host}, port {port} ({reason}). Choose another --port or --host."
        ) from error


def serve(predictor: Predictor, settings: ServiceSettings, host: str, port: int) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish the requests that have arrived.

    On a loopback address without a token, only loopback names are answered by default.
    """
    is_loopback = host.startswith("127.") or host in ("localhost", "::1")
    if is_loopback and settings.token is None and settings.allowed_hosts is None:
        settings = settings.model_copy(update={"allowed_hosts": (host,)})
    logging.getLogger("uvicorn.error").addFilter(_remove_traceback)
    uvicorn.run(
        create_app(predictor, settings),
        host=host,
        port=port,
        http=TimeoutProtocol,
        access_log=False,
        limit_concurrency=settings.connections,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=int(settings.seconds) + 1,
        server_header=False,
    )


def _remove_traceback(record: logging.LogRecord) -> Any:
    record.exc_info = None  # a traceback could quote the request
    return True
