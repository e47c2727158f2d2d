"""Reading of images and masks for import, training and prediction.

Pillow's own `convert` clips 16 bits to 8, mixes in the colours of transparent pixels, and ignores colour profiles and
the orientation in EXIF.
"""

import hashlib
import io
import warnings
import zlib
from contextlib import nullcontext
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from lesion_segmentation.core.errors import first_line
from lesion_segmentation.images.clinic_formats import START_BYTES, prepare_format
from lesion_segmentation.images.color_profiles import find_transform

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
"""Formats that are always read from untrusted files. Pillow passes others, such as PostScript, to external programs."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".heic", ".dcm")
MAX_PIXELS = 100_000_000
"""Maximum number of pixels of an image. Larger images would need gigabytes of memory."""

_8_BIT_MODES = ("1", "L", "RGB", "P", "YCbCr")
_16_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")
_PNG = b"\x89PNG\r\n\x1a\n"
_OPTIONAL_CHUNKS = (b"tRNS", b"acTL", b"fcTL", b"eXIf")
"""Optional chunks of a PNG file that are read. All others, such as texts, are skipped, since they may be damaged."""
_MAX_PROFILE_BYTES = 4 * 1024**2


class UnreadableImage(ValueError):
    """The file has none of FORMATS."""


class ImageTooLarge(ValueError):
    """The header names more pixels than the limit."""


class RgbImage(NamedTuple):
    """An image as it is displayed.

    Attributes:
        pixels: uint8 (H, W, 3), in sRGB.
        color_profile: The embedded profile: empty, `sRGB`, `converted: <name>`, or `ignored: <reason>`.
    """

    pixels: np.ndarray
    color_profile: str


def read_pixel_count(source: IO[bytes]) -> int:
    """Return the number of pixels that the header of an untrusted file names, or 0 if it has none of FORMATS."""
    try:
        with _open(source) as image:
            return image.width * image.height
    except Exception:  # read_rgb reports what is wrong
        return 0


def read_rgb(source: Path | IO[bytes], max_pixels: int) -> RgbImage:
    """Read an untrusted file as it is displayed. The errors are those of `open_image` and `to_rgb`."""
    return convert_to_srgb(open_image(source, max_pixels))


def open_image(source: Path | IO[bytes], max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open and decode an untrusted file, an MPO file as its first image. Damaged side information is ignored.

    The messages of a ValueError complete a sentence that names the file.

    Raises:
        UnreadableImage: The file has none of FORMATS.
        ImageTooLarge: The header names more than `max_pixels` pixels.
        ValueError: The file cannot be opened, is damaged, has several pages, or has grey values that Pillow misreads.
        MemoryError: The memory is not sufficient.
    """
    try:
        with _open(source) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ImageTooLarge(f"it has {width} x {height} pixels, expected at most {max_pixels:,}")
            pages = getattr(image, "n_frames", 1)
            if pages > 1 and image.format != "MPO":
                raise ValueError(f"it has {pages} pages, expected one")
            _correct_transparency(image)
            if isinstance(image, TiffImageFile):
                _refuse_misread_tiff(image)
            image.load()
            return image
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(f"it has too many pixels, expected at most {max_pixels:,}") from error
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"it is not a readable image, expected {', '.join(FORMATS)}, HEIC or DICOM") from error
    except (ValueError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise almost any type for damaged files
        if isinstance(error, OSError) and error.strerror:
            raise ValueError(f"it cannot be opened ({error.strerror})") from error
        raise ValueError(f"it is damaged ({first_line(error)})") from error


def to_rgb(image: Image.Image) -> np.ndarray:
    """Convert an image to uint8 (H, W, 3) as it is displayed, rotated as EXIF says. 16 bits are scaled to 8.

    Raises:
        ValueError: The pixels are ambiguous: floats, CMYK, or transparent.
    """
    return convert_to_srgb(image).pixels


def convert_to_srgb(image: Image.Image) -> RgbImage:
    """Convert an image as `to_rgb` does, and describe its colour profile."""
    upright = _drop_opaque_alpha(_turn_upright(image))
    if upright.mode == "I":
        raise ValueError("its pixels are integers of 32 bits; expected 8 or 16 bits")
    if upright.mode in _16_BIT_MODES:
        upright = Image.fromarray((_read_16_bits(upright) // 257).astype(np.uint8))
    rgb = upright.convert("RGB")
    if "icc_profile" not in image.info:
        return RgbImage(np.asarray(rgb), "")
    transform, note = find_transform(image.info["icc_profile"], is_grey=image.getbands()[0] in "1LI")
    if transform is not None:
        rgb = transform.apply(rgb.convert(transform.input_mode))
    return RgbImage(np.asarray(rgb), note)


def to_mask(image: Image.Image) -> np.ndarray:
    """Convert a mask of any mode with at most two grey values to boolean (H, W). The higher value is the lesion.

    A mask of a single value is empty if it is black, otherwise full.

    Raises:
        ValueError: There are more than two values, or the mask is in the alpha channel.
    """
    upright = _turn_upright(image)
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


def _open(source: Path | IO[bytes]) -> ImageFile:
    """Open an untrusted file without decoding it. Only the needed chunks of a PNG file are read."""
    Image.init()  # otherwise Pillow knows only some of FORMATS
    profile = None
    with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
        start = file.read(START_BYTES)
        if start.startswith(_PNG):
            source, profile = _select_chunks(io.BytesIO(start[len(_PNG) :] + file.read()))
        elif not isinstance(source, Path):
            source.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(source, formats=(*FORMATS, *prepare_format(start)))
    if profile is not None:
        image.info["icc_profile"] = profile
    return image


def _select_chunks(chunks: io.BytesIO) -> tuple[io.BytesIO, bytes | None]:
    """Return a PNG file of the needed chunks, and its colour profile, which is empty if it cannot be decompressed."""
    kept, profile, name = [_PNG], None, b""
    while name != b"IEND" and len(head := chunks.read(8)) == 8:
        name, body = head[4:], chunks.read(int.from_bytes(head[:4]) + 4)  # with the checksum
        if name == b"iCCP":
            try:
                profile = zlib.decompressobj().decompress(body.partition(b"\0")[2][1:], _MAX_PROFILE_BYTES)
            except zlib.error:
                profile = b""
        elif name == b"eXIf" and zlib.crc32(name + body[:-4]) != int.from_bytes(body[-4:]):
            continue
        elif name[:1].isupper() or name in _OPTIONAL_CHUNKS:
            kept += [head, body]
    return io.BytesIO(b"".join(kept)), profile


def _correct_transparency(image: ImageFile) -> None:
    """Give the transparent colour of a PNG file the range of Pillow's pixels, which have 8 bits instead of 2, 4 or 16.

    Pillow drops the lower 8 bits of RGB with 16 bits, so two colours that differ only in these are taken as equal.
    """
    key, raw_mode = image.info.get("transparency"), image.tile[0].args if image.tile else None
    if isinstance(key, int) and raw_mode in ("L;2", "L;4"):
        image.info["transparency"] = key * (85 if raw_mode == "L;2" else 17)
    elif isinstance(key, tuple) and raw_mode == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)


def _refuse_misread_tiff(image: TiffImageFile) -> None:
    bits, white_is_0, has_sign = image.tag_v2.get(258), image.tag_v2.get(262) == 0, image.tag_v2.get(339) == (2,)
    if (image.mode == "I;16" and (bits != (16,) or white_is_0)) or (image.mode == "L" and has_sign):
        raise ValueError("its grey values have 12 bits or a sign, or 0 is white; expected 8 or 16 bits, and 0 is black")


def _turn_upright(image: Image.Image) -> Image.Image:
    """Rotate and mirror an image as EXIF says. Pillow's own function fails if any other tag of EXIF is damaged."""
    turn = Image.Transpose
    methods = {
        2: turn.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: turn.FLIP_TOP_BOTTOM, 5: turn.TRANSPOSE, 6: turn.ROTATE_270,
        7: turn.TRANSVERSE, 8: turn.ROTATE_90,
    }  # fmt: skip
    try:
        method = methods.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # EXIF is damaged
        method = None
    return image if method is None else image.transpose(method)


def _drop_opaque_alpha(image: Image.Image) -> Image.Image:
    """Drop a fully opaque alpha channel, and refuse other transparency and modes whose meaning is ambiguous."""
    key = image.info.get("transparency")
    if image.mode in _ALPHA_MODES or (image.mode == "P" and key is not None):
        full = image.convert("RGBA")
        if full.getchannel("A").getextrema() != (255, 255):
            raise ValueError("it has transparent pixels")
        return full.convert("RGB")
    if image.mode not in _8_BIT_MODES + _16_BIT_MODES:
        kind = {"F": "floats", "CMYK": "CMYK, whose colours depend on a printer"}.get(image.mode, image.mode)
        raise ValueError(f"its pixels are {kind}; expected RGB or grey values of 8 or 16 bits")
    if key is not None:  # Pillow's own conversion clips 16 bits
        pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
        if (np.atleast_3d(pixels) == key).all(axis=2).any():
            raise ValueError("it has transparent pixels")
    return image


def _read_16_bits(image: Image.Image) -> np.ndarray:
    """Return grey values (H, W) of 16 bits, which Pillow stores partly as 32 bits."""
    pixels = np.asarray(image).astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 65_535:
        raise ValueError(f"its pixels are {pixels.min()} to {pixels.max()}; expected 8 or 16 bits")
    return pixels
