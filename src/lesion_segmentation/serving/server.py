"""The service under uvicorn."""

import asyncio
import logging
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from lesion_segmentation.prediction import Predictor
from lesion_segmentation.serving.app import create_app
from lesion_segmentation.serving.settings import ServiceSettings

HEADER_SECONDS = 10.0
"""A connection that has not sent the head of its first request by then is closed: uvicorn alone would wait for ever."""


class ImpatientProtocol(H11Protocol):
    """HTTP/1.1 whose connections may not stay silent."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._silent = asyncio.get_running_loop().call_later(HEADER_SECONDS, self._close_if_silent)

    def _close_if_silent(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._silent.cancel()
        super().connection_lost(exc)


def serve(predictor: Predictor, settings: ServiceSettings, host: str, port: int) -> None:
    """Answer until SIGTERM or Ctrl-C, then finish what was begun."""
    logging.getLogger("uvicorn.error").addFilter(_leave_out_traces)
    uvicorn.run(
        create_app(predictor, settings),
        host=host,
        port=port,
        http=ImpatientProtocol,
        access_log=False,
        limit_concurrency=settings.connections,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=int(settings.seconds) + 1,
        server_header=False,
    )


def _leave_out_traces(record: logging.LogRecord) -> Any:
    record.exc_info = None  # a trace may hold what a caller sent
    return True
