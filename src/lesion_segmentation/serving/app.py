"""The service: predictions for programs, a page for people, and what an operator asks for."""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
from lesion_segmentation.errors import InputError
from lesion_segmentation.prediction import Predictor
from lesion_segmentation.serving.answers import decode, describe, to_png
from lesion_segmentation.serving.batching import Batcher, Full
from lesion_segmentation.serving.limits import Refusal, find_picture, read_body
from lesion_segmentation.serving.settings import ServiceSettings

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

    def __init__(self, batcher: Batcher) -> None:
        self.registry = CollectorRegistry()
        self.answers = Counter("lesion_answers", "Answers to /predict", ["status"], registry=self.registry)
        self.seconds = Histogram("lesion_seconds", "Seconds until a mask was there", registry=self.registry)
        waiting = Gauge("lesion_waiting", "Pictures that wait for the network", registry=self.registry)
        waiting.set_function(lambda: batcher.waiting)


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
    batcher = Batcher(predictor, settings.most_waiting)
    figures = _Figures(batcher)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await batcher.stop()

    app = FastAPI(title="Lesion segmentation", version=__version__, description=NOTICE, docs_url=None, redoc_url=None,
                  lifespan=lifespan)  # fmt: skip
    _add_pages(app, predictor, needs_token=settings.token is not None)

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
        content = await find_picture(request, await read_body(request, settings.most_bytes, settings.seconds))
        image, prediction = await _predict(request, content, batcher, settings)
        figures.seconds.observe(time.perf_counter() - start)
        if request.headers.get("accept", "").partition(";")[0].strip() == "image/png":
            return Response(await asyncio.to_thread(to_png, 255 * prediction.mask), media_type="image/png")
        answer = await asyncio.to_thread(describe, image, prediction, probability)
        answer |= {"threshold": predictor.threshold, "seconds": round(time.perf_counter() - start, 4), "notice": NOTICE}
        return JSONResponse(answer)

    return app


async def _predict(request: Request, content: bytes, batcher: Batcher, settings: ServiceSettings) -> Any:
    """The picture and its prediction, unless the caller goes away or it takes too long.

    Raises:
        Refusal: Too many wait (429), it took too long or there is too little memory (503), or the picture cannot be.
    """
    image: np.ndarray = await asyncio.to_thread(decode, content, settings.most_pixels)
    task = asyncio.create_task(batcher.predict(image))
    try:
        async with asyncio.timeout(settings.seconds):
            while not task.done():
                await asyncio.wait({task}, timeout=0.25)
                if not task.done() and await request.is_disconnected():
                    raise Refusal(499, "The caller went away.")
            return image, task.result()
    except TimeoutError:
        raise Refusal(503, "The prediction took too long. Try again later.") from None
    except Full:
        raise Refusal(429, "Too many pictures wait already. Try again later.") from None
    except InputError as error:  # too little memory
        raise Refusal(503, str(error)) from None
    finally:
        task.cancel()


def _require_token(request: Request, token: str | None) -> None:
    if token is None:
        return
    given = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
    if not hmac.compare_digest(given, token.encode()):
        raise Refusal(401, "A token is needed: Authorization: Bearer <token>.")


def _add_pages(app: FastAPI, predictor: Predictor, needs_token: bool) -> None:
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
            "single_lesion": predictor.single_lesion,
            "commit": said.commit,
            "needs_token": needs_token,
            "notice": NOTICE,
        }
