"""Web application: the endpoints of a `Service`, the web page and the API documentation."""

from pathlib import Path

import swagger_ui_bundle  # type: ignore[import-untyped]
from fastapi import FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse
from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lesion_segmentation import __version__
from lesion_segmentation.prediction import Predictor
from lesion_segmentation.serving.service import NOTICE, Metrics, Service, ServiceSettings

PAGE = Path(__file__).parent / "page"
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""Headers of each response, unless its endpoint has set them."""
_FILE = {"type": "string", "format": "binary"}
REQUEST_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": {"type": "object", "properties": {"file": _FILE}}},
            "image/*": {"schema": _FILE},
        },
    }
}
"""OpenAPI schema of the body of /predict. FastAPI cannot derive it, since `Service.predict` parses the body itself."""


def create_app(predictor: Predictor, settings: ServiceSettings) -> FastAPI:
    """Create the application for one network.

    Args:
        predictor: A predictor that was created with `settings.batch_size`. Only this application may use it.
        settings: Limits, batch size and token of the service.
    """
    service = Service(predictor, settings)
    app = FastAPI(
        title="Lesion segmentation", version=__version__, description=NOTICE, lifespan=service.run,
        docs_url=None, redoc_url=None, servers=[{"url": "."}], root_path_in_servers=False,
    )  # fmt: skip
    app.openapi_version = "3.0.3"  # the bundled Swagger UI cannot display 3.1
    app.mount("/static", StaticFiles(directory=PAGE), name="static")
    app.mount("/swagger", StaticFiles(directory=swagger_ui_bundle.swagger_ui_path), name="swagger")
    app.add_api_route("/", _show_page, include_in_schema=False)
    app.add_api_route("/docs", _show_documentation, include_in_schema=False)
    app.add_api_route("/predict", service.predict, methods=["POST"], openapi_extra=REQUEST_BODY)
    app.add_api_route("/health", service.health)
    app.add_api_route("/version", service.version)
    app.add_api_route("/model_card", service.show_model_card, include_in_schema=False)
    app.add_api_route("/metrics", service.show_metrics, include_in_schema=False)
    if settings.allowed_hosts is not None:
        hosts = [*LOOPBACK, *settings.allowed_hosts]
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    app.add_middleware(_Middleware, metrics=service.metrics, root_path=settings.root_path)
    return app


class _Middleware:
    """Middleware that adds HEADERS to all responses and counts the responses of /predict by status.

    It also accepts paths with and without the prefix `root_path`, and answers HEAD like GET, without a body.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, root_path: str) -> None:
        self.app, self.metrics, self.root_path = app, metrics, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        root, path = self.root_path, scope["path"]
        path = path if f"{path}/".startswith(f"{root}/") else root + path
        method = "GET" if scope["method"] == "HEAD" else scope["method"]  # uvicorn still omits the body

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if path == f"{root}/predict":
                    self.metrics.answers.labels(str(message["status"])).inc()
            await send(message)

        await self.app({**scope, "root_path": root, "path": path, "method": method}, receive, send_with_headers)


async def _show_page() -> FileResponse:
    return FileResponse(PAGE / "index.html")


async def _show_documentation() -> Response:
    response = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="Lesion segmentation",
        swagger_js_url="swagger/swagger-ui-bundle.js",
        swagger_css_url="swagger/swagger-ui.css",
        swagger_favicon_url="swagger/favicon-32x32.png",
    )
    response.headers["Content-Security-Policy"] = "default-src 'self' 'unsafe-inline'; img-src 'self' data:"
    return response
