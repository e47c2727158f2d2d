"""The service: predictions for programs, a page for people, and what an operator asks for."""

import asyncio
import hmac
import io
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.datastructures import MutableHeaders
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lesion_segmentation import __version__
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.images.read import count_pixels
from lesion_segmentation.prediction import Prediction, Predictor
from lesion_segmentation.prediction.input_images import require_side
from lesion_segmentation.serving.batching import Batcher
from lesion_segmentation.serving.limits import Capacity, Refusal, find_picture, read_body
from lesion_segmentation.serving.responses import decode, describe, to_png
from lesion_segmentation.serving.settings import ServiceSettings

logger = logging.getLogger(__name__)
PAGE = Path(__file__).parent / "page"
NOTICE = "For research. Not a medical device."
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


class _Figures:
    """What Prometheus may read; of pictures their number alone."""

    def __init__(self, room: Capacity) -> None:
        self.registry = CollectorRegistry()
        self.answers = Counter("lesion_answers", "Answers to /predict", ["status"], registry=self.registry)
        self.seconds = Histogram("lesion_seconds", "Seconds until a mask was there", registry=self.registry)
        waiting = Gauge("lesion_waiting", "Pictures at hand", registry=self.registry)
        waiting.set_function(lambda: room.pictures)


class _Guard:
    """Headers of every answer, and the count of answers by status."""

    def __init__(self, app: ASGIApp, figures: _Figures) -> None:
        self.app, self.figures = app, figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"] == "/predict":
                    self.figures.answers.labels(str(message["status"])).inc()
            await send(message)

        await self.app(scope, receive, guarded)


def create_app(predictor: Predictor, settings: ServiceSettings) -> FastAPI:
    """The application around one network, which it alone may use.

    Args:
        predictor: Prepared, with the batch size of the settings.
        settings: Its bounds.
    """
    batcher = Batcher(predictor)
    room = Capacity(settings.max_waiting, 4 * settings.max_pixels)
    figures = _Figures(room)
    hands = ThreadPoolExecutor(2, "pictures")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await batcher.stop()
        hands.shutdown()

    app = FastAPI(title="Lesion segmentation", version=__version__, description=NOTICE, docs_url=None, redoc_url=None,
                  lifespan=lifespan)  # fmt: skip
    _add_pages(app, predictor, batcher, needs_token=settings.token is not None)

    app.add_middleware(_Guard, figures=figures)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(figures.registry), media_type=CONTENT_TYPE_LATEST)

    @app.exception_handler(Refusal)
    async def refuse(_: Request, refusal: Refusal) -> JSONResponse:
        headers = {"Retry-After": "1"} if refusal.status in (429, 503) else {}
        if refusal.status in (408, 413):  # what is still coming is not read
            headers["Connection"] = "close"
        return JSONResponse({"detail": refusal.sentence}, refusal.status, headers)

    @app.post("/predict", openapi_extra=BODY)
    async def predict(request: Request, probability: bool = False) -> Response:
        """A picture to its mask: as JSON with area, box, contour and confidence, or with `Accept: image/png` alone."""
        _require_token(request, settings.token)
        start = time.perf_counter()
        as_png = request.headers.get("accept", "").partition(";")[0].strip() == "image/png"
        try:
            with room.picture():
                body = await read_body(request, settings.max_bytes, settings.seconds)
                content = await find_picture(request, body)
                async with asyncio.timeout(settings.seconds):
                    answer = await _answer(request, content, as_png, probability)
        except Refusal:
            raise
        except TimeoutError:
            raise Refusal(503, "The prediction took too long. Try again later.") from None
        except InputError as error:  # too little memory
            raise Refusal(503, str(error)) from None
        except Exception as error:
            logger.error("An answer failed: %s", type(error).__name__)  # what it says may hold what a caller sent
            raise Refusal(500, "The server could not answer this.") from None
        figures.seconds.observe(time.perf_counter() - start)
        if isinstance(answer, bytes):
            return Response(answer, media_type="image/png")
        answer |= {"threshold": predictor.threshold, "seconds": round(time.perf_counter() - start, 4), "notice": NOTICE}
        return JSONResponse(answer)

    async def _answer(request: Request, content: bytes, as_png: bool, probability: bool) -> Any:
        in_thread = partial(asyncio.get_running_loop().run_in_executor, hands)
        with room.of(await in_thread(count_pixels, io.BytesIO(content))):
            image = await in_thread(_decode, content, settings.max_pixels, predictor.metadata.input_size)
            prediction = await _until_gone(request, batcher.predict(image))
            if as_png:
                return await in_thread(to_png, 255 * prediction.mask)
            return await in_thread(describe, image, prediction, probability)

    return app


def _decode(content: bytes, max_pixels: int, input_size: tuple[int, int] | None) -> np.ndarray:
    image = decode(content, max_pixels)
    try:
        require_side(image, input_size)
    except ValueError as error:
        raise Refusal(422, f"The picture cannot be used: {error}.") from None
    return image


async def _until_gone(request: Request, prediction: Coroutine[Any, Any, Prediction]) -> Prediction:
    """The prediction, unless the caller goes away meanwhile.

    Raises:
        Refusal: It did (499).
    """
    task = asyncio.create_task(prediction)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=0.25)
            if not task.done() and await request.is_disconnected():
                raise Refusal(499, "The caller went away.")
        return task.result()
    finally:
        task.cancel()


def _require_token(request: Request, token: str | None) -> None:
    if token is None:
        return
    given = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
    if not hmac.compare_digest(given, token.encode()):
        raise Refusal(401, "A token is needed: Authorization: Bearer <token>.")


def _add_pages(app: FastAPI, predictor: Predictor, batcher: Batcher, needs_token: bool) -> None:
    import swagger_ui_bundle  # type: ignore[import-untyped]

    app.mount("/static", StaticFiles(directory=PAGE), name="static")
    app.mount("/swagger", StaticFiles(directory=swagger_ui_bundle.swagger_ui_path), name="swagger")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        shown = get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Lesion segmentation",
            swagger_js_url="/swagger/swagger-ui-bundle.js",
            swagger_css_url="/swagger/swagger-ui.css",
            swagger_favicon_url="/swagger/favicon-32x32.png",
        )
        shown.headers["Content-Security-Policy"] = "default-src 'self' 'unsafe-inline'; img-src 'self' data:"
        return shown

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether it can predict."""
        if not batcher.is_alive:
            raise Refusal(503, "The network does not answer.")
        return {"status": "ok"}

    @app.get("/version")
    async def version() -> dict[str, Any]:
        """Of the code, and what the network is."""
        said = predictor.metadata
        return {
            "version": __version__,
            "architecture": said.architecture,
            "options": dict(said.options),
            "trained_on": said.source,
            "threshold": predictor.threshold,
            "test_time_augmentation": predictor.test_time_augmentation,
            "keep_largest_component": predictor.keep_largest_component,
            "commit": said.commit,
            "needs_token": needs_token,
            "notice": NOTICE,
        }
