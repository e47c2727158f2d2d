"""Fixture that starts the service on a free port."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import torch
import uvicorn

from lesion_segmentation.model import NetworkMetadata, build_network
from lesion_segmentation.prediction import Predictor
from lesion_segmentation.serving import ServiceSettings, create_app
from lesion_segmentation.serving.server import TimeoutProtocol


def small_predictor(**options) -> Predictor:
    torch.manual_seed(1)
    metadata = NetworkMetadata("segnet", {"width": 0.0625}, (64, 96), input_mean=(120.0,) * 3, input_std=(40.0,) * 3)
    return Predictor(build_network(metadata), **options)


@contextmanager
def running_service(predictor: Predictor, settings: ServiceSettings) -> Iterator[int]:
    """Start a service and yield its port."""
    config = uvicorn.Config(
        create_app(predictor, settings), port=0, http=TimeoutProtocol, log_level="warning", access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    with ExitStack() as stack:
        yield lambda predictor=None, **settings: stack.enter_context(
            running_service(predictor or small_predictor(), ServiceSettings(**settings))
        )
