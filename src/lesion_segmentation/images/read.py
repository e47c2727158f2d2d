"""Reading of images and masks for import, training and prediction.

Pillow's own `convert` clips 16 bits to 8, mixes in the colours of transparent pixels, and ignores the orientation in
EXIF.
"""

import hashlib
import warnings
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lesion_segmentation.core.errors import first_line

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""Formats that are read from untrusted files. Pillow passes others, such as PostScript, to external programs."""

_8_BIT_MODES = ("1", "L", "RGB", "P", "YCbCr")
_16_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")


class UnreadableImage(ValueError):
    """The file has none of FORMATS."""


class ImageTooLarge(ValueError):
    """The header names more pixels than the limit."""


def read_pixel_count(source: IO[bytes]) -> int:
    """Return the number of pixels that the header of an untrusted file names, or 0 if it has none of FORMATS."""
    Image.init()  # otherwise Pillow knows only some of FORMATS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as image:
                return image.width * image.height
    except Exception:  # read_rgb reports what is wrong
        return 0


def read_rgb(source: Path | IO[bytes], max_pixels: int) -> np.ndarray:
    """Read an untrusted file as it is displayed, uint8 (H, W, 3). An MPO file is read as its first image.

    Raises:
        ValueError: UnreadableImage, ImageTooLarge, or the file is damaged, has several pages, or has pixels that
            `to_rgb` refuses. The message completes a sentence that names the file.
    """
    Image.init()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise ImageTooLarge(f"it has {width} x {height} pixels, expected at most {max_pixels:,}")
                pages = getattr(image, "n_frames", 1)
                if pages > 1 and image.format != "MPO":
                    raise ValueError(f"it has {pages} pages, expected one")
                return to_rgb(image)
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(f"it has too many pixels, expected at most {max_pixels:,}") from error
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"it is not a readable image, expected {', '.join(FORMATS)}") from error
    except (ValueError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise almost any type for damaged files
        raise ValueError(f"it is damaged ({first_line(error)})") from error


def to_rgb(image: Image.Image) -> np.ndarray:
    """Convert an image to uint8 (H, W, 3) as it is displayed. 16 bits are scaled to 8.

    Raises:
        ValueError: The pixels are ambiguous: floats, CMYK, or transparent.
    """
    upright = _drop_opaque_alpha(ImageOps.exif_transpose(image))
    if upright.mode in _16_BIT_MODES:
        grey = (_read_16_bits(upright) // 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.asarray(upright.convert("RGB"))


def to_mask(image: Image.Image) -> np.ndarray:
    """Convert a mask of any mode with at most two grey values to boolean (H, W). The higher value is the lesion.

    A mask of a single value is empty if it is black, otherwise full.

    Raises:
        ValueError: There are more than two values, or the mask is in the alpha channel.
    """
    upright = ImageOps.exif_transpose(image)
    try:
        upright = _drop_opaque_alpha(upright)
    except ValueError as error:
        raise ValueError(f"{error}; the alpha channel is not read: store the mask as black and white") from error
    grey = _read_16_bits(upright) if upright.mode in _16_BIT_MODES else np.asarray(upright.convert("RGB").convert("L"))
    values = np.unique(grey)
    if len(values) > 2:
        shown = ", ".join(str(value) for value in values[:6])
        raise ValueError(f"{len(values)} grey values found ({shown}, ...), expected at most two")
    return np.asarray(grey > (values[0] if len(values) == 2 else 0))


def pixel_hash(pixels: np.ndarray) -> str:
    """Return the SHA-256 of the shape and the decoded pixels, which does not depend on the file format."""
    digest = hashlib.sha256(f"{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).tobytes())
    return digest.hexdigest()


def _drop_opaque_alpha(image: Image.Image) -> Image.Image:
    """Drop a fully opaque alpha channel, and refuse other transparency and modes whose meaning is ambiguous."""
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        full = image.convert("RGBA")
        if full.getchannel("A").getextrema() != (255, 255):
            raise ValueError("it has transparent pixels")
        return full.convert("RGB")
    if image.mode not in _8_BIT_MODES + _16_BIT_MODES:
        kind = {"F": "floats", "CMYK": "CMYK, whose colours depend on a printer"}.get(image.mode, image.mode)
        raise ValueError(f"its pixels are {kind}; expected RGB or grey values of 8 or 16 bits")
    return image


def _read_16_bits(image: Image.Image) -> np.ndarray:
    """Return grey values (H, W) of 16 bits, which Pillow stores partly as 32 bits."""
    pixels = np.asarray(image).astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 65_535:
        raise ValueError(f"its pixels are {pixels.min()} to {pixels.max()}; expected 8 or 16 bits")
    return pixels
