"""Bodies of bounded bytes that come in bounded time, in memory alone."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import Request


class Refusal(Exception):
    """A request that is not answered; its status and a plain sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class Capacity:
    """How many pictures, and how many of their pixels, may be at hand at once."""

    def __init__(self, most_pictures: int, max_pixels: int) -> None:
        self.pictures, self.pixels = 0, 0
        self._most_pictures, self._most_pixels = most_pictures, max_pixels

    @contextmanager
    def picture(self) -> Iterator[None]:
        """Capacity for a picture.

        Raises:
            Refusal: There is none (429).
        """
        if self.pictures >= self._most_pictures:
            raise FULL
        self.pictures += 1
        try:
            yield
        finally:
            self.pictures -= 1

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        """Capacity for so many pixels; a picture alone always has it.

        Raises:
            Refusal: There is none (429).
        """
        if self.pixels and self.pixels + pixels > self._most_pixels:
            raise FULL
        self.pixels += pixels
        try:
            yield
        finally:
            self.pixels -= pixels


FULL = Refusal(429, "Too many pictures wait already. Try again later.")


async def read_body(request: Request, max_bytes: int, seconds: float) -> bytes:
    """The body, whatever its headers claim of it.

    Raises:
        Refusal: It is larger (413) or slower (408) than it may be.
    """
    too_large = Refusal(413, f"The body is larger than {max_bytes:,} bytes.")
    claimed = request.headers.get("content-length", "")
    if claimed.isdigit() and int(claimed) > max_bytes:
        raise too_large
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size > max_bytes:
                    raise too_large
                parts.append(part)
    except TimeoutError:
        raise Refusal(408, f"The body did not come within {seconds:g} seconds.") from None
    return b"".join(parts)


async def find_picture(request: Request, body: bytes) -> bytes:
    """The picture in a body: all of it, or the first file of a form.

    Raises:
        Refusal: It is neither a picture nor a form with a file (415), or the form is damaged (422).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("image/") or kind == "application/octet-stream":
        return body
    if kind != "multipart/form-data":
        raise Refusal(415, f"The body is {kind or 'of no named type'}, expected a form with a file, or image/....")
    from starlette.datastructures import UploadFile
    from starlette.formparsers import MultiPartException, MultiPartParser

    async def stream():  # type: ignore[no-untyped-def]
        yield body

    parser = MultiPartParser(request.headers, stream(), max_files=1, max_fields=10)
    parser.spool_max_size = len(body) + 1  # else Starlette would write what is larger than a megabyte to disk
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise Refusal(422, f"The form cannot be read: {error}") from error
    for value in form.values():
        if isinstance(value, UploadFile):
            return await value.read()
    raise Refusal(422, "The form has no file.")
