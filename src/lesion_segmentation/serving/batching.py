"""Batching of the requests of several clients for one network."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import numpy as np

from lesion_segmentation.prediction import Prediction, Predictor


@dataclass
class _Request:
    image: np.ndarray | None
    answer: "asyncio.Future[Prediction | None]"


class Batcher:
    """Queue of single images, from which one thread predicts batches. No other thread may use the predictor."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._queue: asyncio.Queue[_Request] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, "network")
        self._worker: asyncio.Task[None] | None = None

    @property
    def is_alive(self) -> bool:
        return self._worker is not None and not self._worker.done()

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Predict in the background. At the end, the current batch is finished."""
        self._worker = asyncio.create_task(self._predict_batches())
        yield
        self._worker.cancel()
        with suppress(asyncio.CancelledError):
            await self._worker
        self._thread.shutdown()

    async def predict(self, image: np.ndarray) -> Prediction | None:
        """Predict an image as `Predictor.predict_each` does. If the call is cancelled in the queue, it is skipped."""
        request = _Request(image, asyncio.get_running_loop().create_future())
        del image
        self._queue.put_nowait(request)
        try:
            return await request.answer
        finally:
            request.image = None

    async def _predict_batches(self) -> None:
        while True:
            await self._predict_batch(await self._queue.get())

    async def _predict_batch(self, first: _Request) -> None:
        """Predict one batch. A separate coroutine drops all references to its images when it returns."""
        batch = [first]
        while not self._queue.empty() and len(batch) < self._predictor.batch_size:
            batch.append(self._queue.get_nowait())
        batch = [request for request in batch if not request.answer.done()]
        images = [request.image for request in batch if request.image is not None]
        if not images:
            return
        try:
            loop = asyncio.get_running_loop()
            predictions = await loop.run_in_executor(self._thread, lambda: list(self._predictor.predict_each(images)))
        except Exception as error:
            for request in batch:
                if not request.answer.done():
                    request.answer.set_exception(error)
            return
        for request, prediction in zip(batch, predictions, strict=True):
            if not request.answer.done():
                request.answer.set_result(prediction)
