"""Requests of several callers, predicted together by one network."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from lesion_segmentation.prediction import Prediction, Predictor


class Full(Exception):
    """As many pictures wait as may."""


class _Waiting(NamedTuple):
    image: np.ndarray
    answer: "asyncio.Future[Prediction]"


class Batcher:
    """Takes pictures one by one and predicts those together that wait at the same time.

    Args:
        predictor: Used by one thread only.
        most_waiting: More are refused at once.
    """

    def __init__(self, predictor: Predictor, most_waiting: int) -> None:
        self._predictor = predictor
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(most_waiting)
        self._thread = ThreadPoolExecutor(1, "network")
        self._worker: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    def start(self) -> None:
        self._worker = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """End once the picture at hand is done."""
        if self._worker is not None:
            self._worker.cancel()
            with suppress(asyncio.CancelledError):
                await self._worker
        self._thread.shutdown()

    async def predict(self, image: np.ndarray) -> Prediction:
        """Of uint8 (H, W, 3). Whoever is cancelled meanwhile is dropped before the network sees the picture.

        Raises:
            Full: Too many wait.
        """
        answer: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait(_Waiting(image, answer))
        except asyncio.QueueFull:
            raise Full from None
        return await answer

    async def _work(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while not self._queue.empty() and len(batch) < self._predictor.batch_size:
                batch.append(self._queue.get_nowait())
            batch = [each for each in batch if not each.answer.done()]
            if not batch:
                continue
            images = [each.image for each in batch]
            try:
                found = await asyncio.get_running_loop().run_in_executor(self._thread, self._predict, images)
            except Exception as error:
                for each in batch:
                    if not each.answer.done():
                        each.answer.set_exception(error)
                continue
            for each, prediction in zip(batch, found, strict=True):
                if not each.answer.done():
                    each.answer.set_result(prediction)

    def _predict(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        return list(self._predictor(images))
