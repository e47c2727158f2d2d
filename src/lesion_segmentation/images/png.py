"""PNG files of masks and other images."""

import io
import zlib

import numpy as np
from PIL import Image


def encode_mask(mask: np.ndarray) -> bytes:
    """Encode a boolean mask (H, W) as grey levels of 8 bits, 0 and 255."""
    return encode_png(mask.view(np.uint8) * np.uint8(255), zlib.Z_RLE)  # runs of equal pixels become half as large


def encode_png(pixels: np.ndarray, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    """Encode grey levels (H, W) or colours (H, W, 3), uint8, with a strategy of zlib."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1, compress_type=strategy)
    return file.getvalue()
