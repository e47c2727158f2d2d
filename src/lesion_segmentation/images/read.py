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
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from lesion_segmentation.core.errors import first_line
from lesion_segmentation.images.color_profiles import MAX_PROFILE_BYTES, find_transform

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""Formats that are read from untrusted files. Pillow passes others, such as PostScript, to external programs."""
MAX_PIXELS = 100_000_000
"""Maximum number of pixels of an image. Larger images would need gigabytes of memory."""

_8_BIT_MODES = ("1", "L", "RGB", "P", "YCbCr")
_16_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")
_TRANSPOSITIONS = dict(enumerate(map(Image.Transpose, (0, 3, 1, 5, 4, 6, 2)), 2))
"""Transposition that turns an image upright, by its orientation in EXIF."""
_PNG = b"\x89PNG\r\n\x1a\n"
_OPTIONAL_CHUNKS = (b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf")
"""Optional chunks of a PNG file that are read. All others, such as texts, are skipped, since they may be damaged."""


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

    The messages of the first three errors complete a sentence that names the file.

    Raises:
        UnreadableImage: The file has none of FORMATS.
        ImageTooLarge: The header names more than `max_pixels` pixels.
        ValueError: The file is damaged, has several pages, or has grey values of a range that Pillow does not know.
        FileNotFoundError, PermissionError: The file does not exist or may not be read.
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
            _scale_transparency(image)
            image.load()
            return image
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(f"it has too many pixels, expected at most {max_pixels:,}") from error
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"it is not a readable image, expected {', '.join(FORMATS)}") from error
    except (ValueError, MemoryError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # Pillow's decoders raise almost any type for damaged files
        cause = getattr(error, "strerror", None)  # of the operating system, such as: No such file or directory
        raise ValueError(
            f"it {f'cannot be opened ({cause})' if cause else f'is damaged ({first_line(error)})'}"
        ) from error


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
    profile = image.info["icc_profile"]  # None or of another type if it is damaged
    transform, note = find_transform(profile[:MAX_PROFILE_BYTES] if isinstance(profile, bytes) else b"")
    pixels = np.asarray(rgb)
    if transform is None:
        return RgbImage(pixels, note)
    given = rgb.convert(transform.input_mode)
    if transform.input_mode == "L" and not np.array_equal(np.asarray(given.convert("RGB")), pixels):
        return RgbImage(pixels, "ignored: it is for grey images")
    return RgbImage(np.asarray(transform.apply(given)), note)


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


def _open(source: Path | IO[bytes]) -> Image.Image:
    """Open an untrusted file without decoding it. Only the needed chunks of a PNG file are read."""
    Image.init()  # otherwise Pillow knows only some of FORMATS
    profile = None
    with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
        if file.read(len(_PNG)) == _PNG:
            source, profile = _select_chunks(io.BytesIO(file.read()))
        elif not isinstance(source, Path):
            source.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(source, formats=FORMATS)
    if profile is not None:
        image.info["icc_profile"] = profile
    return image


def _select_chunks(chunks: io.BytesIO) -> tuple[io.BytesIO, bytes | None]:
    """Return a PNG file with the chunks that are needed, except the colour profile, and the profile.

    A profile that cannot be decompressed is empty.
    """
    kept, profile, name = [_PNG], None, b""
    while name != b"IEND" and len(head := chunks.read(8)) == 8:
        name, body = head[4:], chunks.read(int.from_bytes(head[:4]) + 4)  # with the checksum
        is_intact = name != b"eXIf" or zlib.crc32(name + body[:-4]) == int.from_bytes(body[-4:])
        if name == b"iCCP":
            try:
                profile = zlib.decompressobj().decompress(body.partition(b"\0")[2][1:], MAX_PROFILE_BYTES)
            except zlib.error:
                profile = b""
        elif (not name[:1].islower() or name in _OPTIONAL_CHUNKS) and is_intact:
            kept += [head, body]
    return io.BytesIO(b"".join(kept)), profile


def _scale_transparency(image: Image.Image) -> None:
    """Give the transparent colour of a PNG file the bits that Pillow's pixels have. Refuse what Pillow misreads.

    The transparent colour of RGB with 16 bits is compared by its upper 8 bits, since Pillow drops the others.
    """
    raw_mode = image.tile[0].args if isinstance(image, ImageFile.ImageFile) and image.tile else None
    key = image.info.get("transparency")
    if isinstance(key, int):
        image.info["transparency"] = key * {"L;2": 85, "L;4": 17}.get(str(raw_mode), 1)
    elif isinstance(key, tuple) and raw_mode == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    if tags and image.mode == "I;16" and (tags.get(258), tags.get(262, 1)) != ((16,), 1):
        raise ValueError("its grey values have 12 bits or white is 0; expected 8 or 16 bits, of which black is 0")
    if image.mode == "L" and tags.get(339) == (2,):
        raise ValueError("its grey values are -128 to 127; expected 8 or 16 bits without a sign")


def _turn_upright(image: Image.Image) -> Image.Image:
    try:
        method = _TRANSPOSITIONS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # EXIF is damaged
        method = None
    return image if method is None else image.transpose(method)


def _drop_opaque_alpha(image: Image.Image) -> Image.Image:
    """Drop a fully opaque alpha channel, and refuse other transparency and modes whose meaning is ambiguous."""
    key = image.info.get("transparency")
    if image.mode in _ALPHA_MODES or (image.mode == "P" and key is not None):
        full = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
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
