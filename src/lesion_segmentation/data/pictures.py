"""Pictures read rightly, in one place: for training, for import and for prediction.

Pillow's own `convert` clips 16 bits to 8, mixes colours of transparent pixels in, and ignores how a camera was held.
"""

import numpy as np
from PIL import Image, ImageOps

_PLAIN = ("1", "L", "RGB", "P", "YCbCr")
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_WITH_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")


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
