"""Requests of several callers, predicted together by one network."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from lesion_segmentation.prediction import Prediction, Predictor


@dataclass
class _Waiting:
    image: np.ndarray | None
    answer: "asyncio.Future[Prediction]"


class Batcher:
    """Takes pictures one by one and predicts those together that wait at the same time.

    Args:
        predictor: Used by one thread only.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, "network")
        self._worker: asyncio.Task[None] | None = None

    @property
    def is_alive(self) -> bool:
        return self._worker is not None and not self._worker.done()

    def start(self) -> None:
        self._worker = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """End once the pictures at hand are done."""
        if self._worker is not None:
            self._worker.cancel()
            with suppress(asyncio.CancelledError):
                await self._worker
        self._thread.shutdown()

    async def predict(self, image: np.ndarray) -> Prediction:
        """Of uint8 (H, W, 3). Whoever is cancelled meanwhile is dropped before the network sees the picture."""
        waiting = _Waiting(image, asyncio.get_running_loop().create_future())
        del image
        self._queue.put_nowait(waiting)
        try:
            return await waiting.answer
        finally:
            waiting.image = None

    async def _work(self) -> None:
        while True:
            await self._work_once(await self._queue.get())

    async def _work_once(self, first: _Waiting) -> None:
        """One batch; a coroutine of its own, so that nothing of its pictures outlives it."""
        batch = [first]
        while not self._queue.empty() and len(batch) < self._predictor.batch_size:
            batch.append(self._queue.get_nowait())
        batch = [each for each in batch if each.image is not None and not each.answer.done()]
        images = [each.image for each in batch if each.image is not None]
        if not images:
            return
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, self._predict, images)
        except Exception as error:
            for each in batch:
                if not each.answer.done():
                    each.answer.set_exception(error)
            return
        for each, prediction in zip(batch, found, strict=True):
            if not each.answer.done():
                each.answer.set_result(prediction)

    def _predict(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        return list(self._predictor(images))
