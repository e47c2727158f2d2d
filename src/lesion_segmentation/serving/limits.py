"""Limits on requests: the size and duration of a body, and the number of images and pixels in memory."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser


class Refusal(HTTPException):
    """A request that is refused with an HTTP status and a sentence."""

    def __init__(self, status: int, detail: str) -> None:
        headers = {"Retry-After": "1"} if status in (429, 503) else {}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if status in (408, 413):  # the rest of the body was not read, so the connection cannot be reused
            headers["Connection"] = "close"
        super().__init__(status, detail, headers)


class Capacity:
    """Counter of what is in memory, such as images or their pixels, with a maximum."""

    def __init__(self, maximum: int) -> None:
        self.used, self._maximum = 0, maximum

    @contextmanager
    def hold(self, amount: int = 1) -> Iterator[None]:
        """Count `amount` more, or refuse it (429). If nothing else is in memory, the amount may exceed the maximum."""
        if self.used and self.used + amount > self._maximum:
            raise Refusal(429, "Too many images, or too large ones, are being processed. Try again later.")
        self.used += amount
        try:
            yield
        finally:
            self.used -= amount


async def read_body(request: Request, max_bytes: int, seconds: float) -> bytes:
    """Return the body of a request, whose headers may announce a wrong size.

    Raises:
        Refusal: The body is larger than `max_bytes` (413) or does not arrive within `seconds` (408).
    """
    too_large = Refusal(413, f"The body is larger than {max_bytes:,} bytes. Send a smaller image.")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > max_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise too_large
    except TimeoutError:
        raise Refusal(408, f"The body did not arrive within {seconds:g} seconds. Try again.") from None
    return bytes(body)


async def find_image(request: Request, body: bytes) -> bytes:
    """Return the image in a body: the whole body, or the first file of a form.

    Raises:
        Refusal: The body is empty (422), neither an image nor a form (415), or a damaged form or one without a file
            (422).
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not body:
        raise Refusal(422, "The body is empty. Send an image as image/... or a form as multipart/form-data.")
    if content_type.startswith("image/") or content_type == "application/octet-stream":
        return body
    if content_type != "multipart/form-data":
        raise Refusal(
            415,
            f"The content type is {content_type or 'missing'}. Send an image as image/... or a form with a file as "
            "multipart/form-data.",
        )
    parser = MultiPartParser(request.headers, _stream(body), max_files=1, max_fields=10)
    parser.spool_max_size = len(body) + 1  # Starlette would otherwise write files above a megabyte to disk
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise Refusal(422, f"The form cannot be parsed: {error}") from error
    for _, value in form.multi_items():
        if isinstance(value, UploadFile) and (content := await value.read()):
            return content
    raise Refusal(422, "The form contains no complete file. Send the image in the field `file`.")


async def _stream(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
