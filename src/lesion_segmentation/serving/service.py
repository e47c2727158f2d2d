"""The endpoints for programs and operators: predictions, health, version and metrics."""

import asyncio
import hmac
import io
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cached_property, partial
from typing import Annotated, Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import Field
from starlette.requests import ClientDisconnect

from lesion_segmentation import __version__
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.parameter_model import ParameterModel
from lesion_segmentation.images.png import encode_mask
from lesion_segmentation.images.read import read_pixel_count
from lesion_segmentation.model import load_network
from lesion_segmentation.prediction import Prediction, Predictor
from lesion_segmentation.prediction.settings import NOT_FINITE
from lesion_segmentation.released import MODEL_CARD, WEIGHTS
from lesion_segmentation.serving.batching import Batcher
from lesion_segmentation.serving.limits import Capacity, Refusal, find_image, read_body
from lesion_segmentation.serving.responses import decode, describe, prefers_png

logger = logging.getLogger(__name__)
NOTICE = "For research. Not a medical device."


class ServiceSettings(ParameterModel):
    """Limits that keep one client from blocking the others.

    Attributes:
        token: Token that predictions require in the header `Authorization: Bearer <token>`; None requires none.
        allowed_hosts: Names in the header `Host` that are answered besides those of loopback, such as `lab.example` or
            `*.lab.example`; None or `*` allows any. Others are refused with status 400, against DNS rebinding.
        root_path: Prefix of the paths behind a proxy that does not remove it, such as `/lesions`.
        max_bytes: Maximum size of a request body. Larger bodies are refused with status 413.
        max_pixels: Maximum number of pixels of an image. Larger images are refused with status 413 before decoding.
            While all images in memory have twice as many, further ones are refused with status 429.
        max_waiting: Maximum number of images in memory. Further images are refused with status 429.
        seconds: Time limit for the arrival of a body (status 408) and for its prediction (status 503).
        batch_size: Images that are computed at once.
        connections: Maximum number of open connections. Further ones are refused with status 503.
    """

    token: str | None = Field(None, pattern=r"^[!-~]([ -~]*[!-~])?$")  # what every client can send in a header
    allowed_hosts: tuple[Annotated[str, Field(pattern=r"^(\*|(\*\.)?[^*]+)$")], ...] | None = None
    root_path: str = Field("", pattern="^(/.*[^/])?$")
    max_bytes: int = Field(25_000_000, ge=1)
    max_pixels: int = Field(50_000_000, ge=1)
    max_waiting: int = Field(64, ge=1)
    seconds: float = Field(30, gt=0)
    batch_size: int = Field(8, ge=1)
    connections: int = Field(500, ge=1)


class Metrics:
    """Counters for Prometheus. They contain nothing about an image."""

    def __init__(self, images: Capacity) -> None:
        self.registry = CollectorRegistry()
        self.answers = Counter("lesion_answers", "Responses of /predict", ["status"], registry=self.registry)
        self.seconds = Histogram("lesion_seconds", "Seconds per prediction", registry=self.registry)
        waiting = Gauge("lesion_waiting", "Images that are being processed", registry=self.registry)
        waiting.set_function(lambda: images.used)


class Service:
    """One network with its queue, limits and metrics. The public methods except `run` are endpoints."""

    def __init__(self, predictor: Predictor, settings: ServiceSettings) -> None:
        self.predictor, self.settings = predictor, settings
        self.batcher = Batcher(predictor)
        self.images, self.pixels = Capacity(settings.max_waiting), Capacity(2 * settings.max_pixels)
        self.metrics = Metrics(self.images)
        self._threads = ThreadPoolExecutor(2, "images")

    @cached_property
    def has_model_card(self) -> bool:
        """Whether the network is the released one."""
        return bool(self.predictor.metadata == load_network(WEIGHTS).metadata)

    @asynccontextmanager
    async def run(self, _: FastAPI) -> AsyncIterator[None]:
        """Run the network while the application lives."""
        async with self.batcher.run():
            yield
        self._threads.shutdown()

    async def predict(self, request: Request, probability: bool = False) -> Response:
        """Predict the mask of an image.

        The response is JSON with area, bounding box, contours, confidence and the mask as a base64-encoded PNG; with
        `probability=true` also the probabilities as a grey PNG. With `Accept: image/png` it is the mask alone.
        """
        self._require_token(request)
        start = time.perf_counter()
        try:
            with self.images.hold():
                body = await read_body(request, self.settings.max_bytes, self.settings.seconds)
                content = await find_image(request, body)
                async with asyncio.timeout(self.settings.seconds):
                    answer = await self._answer(request, content, probability)
        except Refusal:
            raise
        except ClientDisconnect:
            raise Refusal(499, "The client has disconnected.") from None
        except TimeoutError:
            raise Refusal(503, "The prediction took too long. Try again later.") from None
        except InputError as error:  # the memory is not sufficient
            raise Refusal(503, str(error)) from None
        except Exception as error:
            logger.error("A request failed: %s", type(error).__name__)  # the message could quote the request
            raise Refusal(500, "The server failed to answer this request.") from None
        seconds = time.perf_counter() - start
        self.metrics.seconds.observe(seconds)
        if isinstance(answer, bytes):
            return Response(answer, media_type="image/png")
        answer |= {"threshold": self.predictor.threshold, "seconds": round(seconds, 4), "notice": NOTICE}
        return JSONResponse(answer)

    async def health(self) -> dict[str, str]:
        """Report whether the service can predict."""
        if not self.batcher.is_alive:
            raise Refusal(503, "The network does not respond. Restart the service.")
        return {"status": "ok"}

    async def version(self) -> dict[str, Any]:
        """Describe the code and the network."""
        metadata = self.predictor.metadata
        return {
            "version": __version__,
            "architecture": metadata.architecture,
            "options": dict(metadata.options),
            "trained_on": metadata.source,
            "threshold": self.predictor.threshold,
            "test_time_augmentation": self.predictor.test_time_augmentation,
            "keep_largest_component": self.predictor.keep_largest_component,
            "commit": metadata.commit,
            "model_card": self.has_model_card,
            "needs_token": self.settings.token is not None,
            "notice": NOTICE,
        }

    async def show_model_card(self) -> Response:
        """Return the model card of the released network, as plain text."""
        if not self.has_model_card:
            raise Refusal(404, "This network has no model card here. Read 08_reporting/model_card.md of its run.")
        return FileResponse(MODEL_CARD, media_type="text/plain; charset=utf-8")

    async def show_metrics(self) -> Response:
        return Response(generate_latest(self.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    def _require_token(self, request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        credentials, token = f"{scheme.lower()} {given.strip()}", f"bearer {self.settings.token}"
        if self.settings.token is not None and not hmac.compare_digest(credentials.encode(), token.encode()):
            raise Refusal(401, "The token is missing or wrong. Send the header Authorization: Bearer <token>.")

    async def _answer(self, request: Request, content: bytes, probability: bool) -> bytes | dict[str, Any]:
        as_png = prefers_png(",".join(request.headers.getlist("accept")))
        in_thread = partial(asyncio.get_running_loop().run_in_executor, self._threads)
        pixels = await asyncio.to_thread(read_pixel_count, io.BytesIO(content))  # not behind images that are decoded
        with self.pixels.hold(pixels):
            image = await in_thread(decode, content, self.settings.max_pixels, self.predictor.metadata.input_size)
            prediction = await _predict_until_disconnect(request, self.batcher.predict(image.pixels))
            if as_png:
                return await in_thread(encode_mask, prediction.mask)
            return await in_thread(describe, image, prediction, probability, self.predictor.knots)


async def _predict_until_disconnect(request: Request, coroutine: Coroutine[Any, Any, Prediction | None]) -> Prediction:
    """Await a prediction, but cancel it and refuse the request (499) if the client disconnects."""
    task = asyncio.create_task(coroutine)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=0.25)
            if not task.done() and await request.is_disconnected():
                raise Refusal(499, "The client has disconnected.")
        if (prediction := task.result()) is None:
            raise Refusal(500, f"The image cannot be predicted: {NOT_FINITE}.")
        return prediction
    finally:
        task.cancel()
