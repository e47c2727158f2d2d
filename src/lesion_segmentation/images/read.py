"""Pictures read rightly, in one place: for training, for import and for prediction.

Pillow's own `convert` clips 16 bits to 8, mixes colours of transparent pixels in, and ignores how a camera was held.
"""

import hashlib
import warnings
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lesion_segmentation.core.errors import first_line

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
"""Of pictures of strangers: Pillow would hand others to programs of the machine, PostScript for one."""

_PLAIN = ("1", "L", "RGB", "P", "YCbCr")
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_WITH_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")


class UnreadableImage(ValueError):
    """The file is none of FORMATS."""


class ImageTooLarge(ValueError):
    """The picture has more pixels than are read."""


def count_pixels(source: IO[bytes]) -> int:
    """Of a stranger's picture, by its header; 0 where it is none of FORMATS."""
    Image.init()  # else Pillow knows only some of FORMATS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as picture:
                return picture.width * picture.height
    except Exception:  # reading says what is wrong with it
        return 0


def read_rgb(source: Path | IO[bytes], max_pixels: int) -> np.ndarray:
    """A stranger's picture as it is looked at, uint8 (H, W, 3); of the two that some cameras write the first.

    Raises:
        UnreadableImage: It is none of FORMATS.
        ImageTooLarge: It has more pixels, by its header.
        ValueError: It is damaged, of a kind that is not read, or of several pages; in words.
        MemoryError: There is too little.
    """
    Image.init()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as picture:
                width, height = picture.size
                if width * height > max_pixels:
                    raise ImageTooLarge(f"it has {width} x {height} pixels, {max_pixels:,} are read at most")
                pages = getattr(picture, "n_frames", 1)
                if pages > 1 and picture.format != "MPO":
                    raise ValueError(f"it has {pages} pages, one is expected")
                return to_rgb(picture)
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(f"it has more than {max_pixels:,} pixels") from error
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"it is no picture that can be read ({', '.join(FORMATS)})") from error
    except (ValueError, MemoryError):
        raise
    except Exception as error:  # Pillow's readers raise almost anything for damaged files
        raise ValueError(f"it is damaged ({first_line(error)})") from error


def to_rgb(picture: Image.Image) -> np.ndarray:
    """An image as it is looked at, uint8 (H, W, 3): turned as EXIF says, palettes by their colours, 16 bits scaled.

    Raises:
        ValueError: Its kind of pixels has no one meaning: floats, CMYK, pixels that are transparent.
    """
    upright = _opaque(ImageOps.exif_transpose(picture))
    if upright.mode in _DEEP:
        grey = (_deep(upright) // 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.asarray(upright.convert("RGB"))


def to_mask(picture: Image.Image) -> np.ndarray:
    """A mask of at most two values, in whatever mode it is stored, boolean (H, W): the higher value is the lesion.

    One value alone is an empty mask if it is black, else a full one.

    Raises:
        ValueError: More than two values, of which some are listed; or it stands in the alpha channel.
    """
    upright = ImageOps.exif_transpose(picture)
    try:
        upright = _opaque(upright)
    except ValueError as error:
        raise ValueError(f"{error}; a mask in the alpha channel is not read: store it as black and white") from error
    grey = _deep(upright) if upright.mode in _DEEP else np.asarray(upright.convert("RGB").convert("L"))
    values = np.unique(grey)
    if len(values) > 2:
        shown = ", ".join(str(value) for value in values[:6])
        raise ValueError(f"{len(values)} grey values found ({shown}, ...), expected two at most")
    return np.asarray(grey > (values[0] if len(values) == 2 else 0))


def pixel_hash(pixels: np.ndarray) -> str:
    """SHA-256 of the shape and the decoded pixels, whatever the file format was."""
    digest = hashlib.sha256(f"{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).tobytes())
    return digest.hexdigest()


def _opaque(picture: Image.Image) -> Image.Image:
    """Without an alpha channel that says nothing."""
    if picture.mode in _WITH_ALPHA or "transparency" in picture.info:
        full = picture.convert("RGBA")
        if full.getchannel("A").getextrema() != (255, 255):
            raise ValueError("it has transparent pixels")
        return full.convert("RGB")
    if picture.mode not in _PLAIN + _DEEP:
        kind = {"F": "floats", "CMYK": "CMYK, whose colours depend on a printer"}.get(picture.mode, picture.mode)
        raise ValueError(f"its pixels are {kind}; expected RGB or grey of 8 or 16 bits")
    return picture


def _deep(picture: Image.Image) -> np.ndarray:
    """Grey of 16 bits, (H, W); Pillow stores some of it in 32."""
    pixels = np.asarray(picture).astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 65_535:
        raise ValueError(f"its pixels are {pixels.min()} to {pixels.max()}; expected 8 or 16 bits")
    return pixels
