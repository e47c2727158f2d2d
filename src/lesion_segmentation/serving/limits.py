"""Limits on requests: the size and duration of a body, and the number of images and pixels in memory."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser


class Refusal(Exception):
    """A request that is refused with an HTTP status and a sentence."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class Capacity:
    """Counters of the images, and of their pixels, that are in memory.

    Args:
        max_images: The number of images that may be in memory at once.
        max_pixels: The number of their pixels. A single image may have more.
    """

    def __init__(self, max_images: int, max_pixels: int) -> None:
        self.images, self.pixels = 0, 0
        self._max_images, self._max_pixels = max_images, max_pixels

    @contextmanager
    def hold_image(self) -> Iterator[None]:
        """Count one more image.

        Raises:
            Refusal: There are too many images (429).
        """
        if self.images >= self._max_images:
            raise FULL
        self.images += 1
        try:
            yield
        finally:
            self.images -= 1

    @contextmanager
    def hold_pixels(self, pixels: int) -> Iterator[None]:
        """Count the pixels of one more image.

        Raises:
            Refusal: There are too many pixels (429).
        """
        if self.pixels and self.pixels + pixels > self._max_pixels:
            raise FULL
        self.pixels += pixels
        try:
            yield
        finally:
            self.pixels -= pixels


FULL = Refusal(429, "Too many images are waiting. Try again later.")


async def read_body(request: Request, max_bytes: int, seconds: float) -> bytes:
    """Return the body of a request, whose headers may announce a wrong size.

    Raises:
        Refusal: The body is larger than `max_bytes` (413) or does not arrive within `seconds` (408).
    """
    too_large = Refusal(413, f"The body is larger than {max_bytes:,} bytes. Send a smaller image.")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > max_bytes:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > max_bytes:
                    raise too_large
                chunks.append(chunk)
    except TimeoutError:
        raise Refusal(408, f"The body did not arrive within {seconds:g} seconds. Try again.") from None
    return b"".join(chunks)


async def find_image(request: Request, body: bytes) -> bytes:
    """Return the image in a body: the whole body, or the first file of a form.

    Raises:
        Refusal: The body is neither an image nor a form (415), or the form is damaged or contains no file (422).
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
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
    for value in form.values():
        if isinstance(value, UploadFile):
            return await value.read()
    raise Refusal(422, "The form contains no file. Send the image in the field `file`.")


async def _stream(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
