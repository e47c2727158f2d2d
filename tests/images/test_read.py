"""Images of all kinds, which are read as displayed or refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from lesion_segmentation.images.read import open_image, read_pixel_count, read_rgb, to_mask, to_rgb

COLORS = np.zeros((4, 6, 3), np.uint8)
COLORS[:, :3] = (200, 30, 10)


def make_rotated() -> Image.Image:
    """Make an image that is stored rotated, with its orientation in EXIF."""
    image = Image.fromarray(np.rot90(COLORS, k=1))  # 6 x 4
    exif = image.getexif()
    exif[0x0112] = 6  # display rotated by 90 degrees clockwise
    image.info["exif"] = exif.tobytes()
    return image


def make_opaque() -> Image.Image:
    return Image.fromarray(np.dstack([COLORS, np.full((4, 6), 255, np.uint8)]), "RGBA")


def test_images_are_read_as_displayed(tmp_path):
    assert np.array_equal(to_rgb(Image.fromarray(COLORS)), COLORS)
    assert np.array_equal(to_rgb(Image.fromarray(COLORS).quantize(4)), COLORS)  # a palette
    assert np.array_equal(to_rgb(make_opaque()), COLORS)
    make_rotated().save(tmp_path / "rotated.png", exif=make_rotated().getexif())
    with Image.open(tmp_path / "rotated.png") as image:
        assert np.array_equal(to_rgb(image), COLORS)


def test_16_bits_are_scaled_and_not_clipped(tmp_path):
    deep = np.array([[0, 257 * 100, 65_535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    with Image.open(tmp_path / "deep.png") as image:
        assert to_rgb(image)[0, :, 0].tolist() == [0, 100, 255]
        with pytest.raises(ValueError, match="3 grey values found"):
            to_mask(image)
    Image.fromarray(np.array([[0, 1, 1]], np.uint16)).save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as image:
        assert to_mask(image).tolist() == [[False, True, True]]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.fromarray(np.dstack([COLORS, np.zeros((4, 6), np.uint8)]), "RGBA"), "transparent pixels"),
        (Image.new("CMYK", (4, 4)), "CMYK"),
        (Image.fromarray(np.zeros((4, 4), np.float32)), "floats"),
        (Image.new("LAB", (4, 4)), "LAB"),
    ],
)
def test_ambiguous_pixels_are_refused(image, message):
    with pytest.raises(ValueError, match=message):
        to_rgb(image)
    with pytest.raises(ValueError, match=message):
        to_mask(image)


def test_integers_of_32_bits_are_masks_but_no_images():
    with pytest.raises(ValueError, match="integers of 32 bits; expected 8 or 16 bits"):
        to_rgb(Image.fromarray(np.full((4, 4), 200, np.int32)))
    assert to_mask(Image.fromarray(np.array([[0, 1]], np.int32))).tolist() == [[False, True]]
    with pytest.raises(ValueError, match="70000; expected 8 or 16 bits"):
        to_mask(Image.fromarray(np.full((4, 4), 70_000, np.int32)))


def test_mask_in_alpha_channel_is_refused_with_remedy():
    alpha = np.zeros((4, 6), np.uint8)
    alpha[1:3, 2:4] = 255
    with pytest.raises(ValueError, match="alpha channel is not read: store the mask as black and white"):
        to_mask(Image.fromarray(np.dstack([COLORS, alpha]), "RGBA"))


def read(content: bytes):
    return read_rgb(io.BytesIO(content), 10**6)


def chunk(name: bytes, content: bytes, checksum: int | None = None) -> bytes:
    checksum = zlib.crc32(name + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def png(values: list[int], bits: int, color_type: int, extra: bytes = b"") -> bytes:
    """Encode a PNG file of one row, whose samples have this number of bits."""
    row = int("".join(f"{value:0{bits}b}" for value in values).ljust(-(-bits * len(values) // 8) * 8, "0"), 2)
    data = b"\0" + row.to_bytes(-(-bits * len(values) // 8))
    header = struct.pack(">IIBBBBB", len(values) // {0: 1, 2: 3, 3: 1}[color_type], 1, bits, color_type, 0, 0, 0)
    parts = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


PALETTE = chunk(b"PLTE", bytes([0, 0, 0, 90, 60, 50, 9, 9, 9, 200, 200, 200]))
SIDE_INFORMATION = {
    "nothing": b"",
    "gamma": chunk(b"gAMA", struct.pack(">I", 45_455)),
    "text that is called transparency": chunk(b"tEXt", b"transparency\0none"),
}


@pytest.mark.parametrize("side", SIDE_INFORMATION)
@pytest.mark.parametrize(
    ("bits", "color_type", "samples", "unused", "used"),
    [
        (1, 0, [1, 1], struct.pack(">H", 0), struct.pack(">H", 1)),
        (2, 0, [1, 3], struct.pack(">H", 2), struct.pack(">H", 1)),
        (4, 0, [1, 15], struct.pack(">H", 2), struct.pack(">H", 15)),
        (8, 0, [1, 200], struct.pack(">H", 2), struct.pack(">H", 200)),
        (16, 0, [257, 60_000], struct.pack(">H", 1), struct.pack(">H", 60_000)),
        (8, 2, [1, 2, 3, 200, 100, 90], struct.pack(">3H", 3, 2, 1), struct.pack(">3H", 1, 2, 3)),
        (16, 2, [257, 514, 771, 60_000, 9, 9], struct.pack(">3H", 1, 2, 3), struct.pack(">3H", 257, 514, 771)),
        (2, 3, [1, 3], b"\xff\xff\x00\xff", b"\xff\x00"),
        (8, 3, [1, 3], b"\x10\xff\x20", b"\xff\x7f"),
    ],
)
def test_transparent_colour_changes_nothing_if_unused_and_is_refused_otherwise(
    bits, color_type, samples, unused, used, side
):
    begin = (PALETTE if color_type == 3 else b"") + SIDE_INFORMATION[side]
    opaque = read(png(samples, bits, color_type, begin)).pixels
    assert opaque.max() >= 85
    assert np.array_equal(read(png(samples, bits, color_type, begin + chunk(b"tRNS", unused))).pixels, opaque)
    with pytest.raises(ValueError, match="transparent pixels"):
        read(png(samples, bits, color_type, begin + chunk(b"tRNS", used)))


def tiff(values: np.ndarray, **changed: int) -> bytes:
    """Encode grey values as TIFF, and then change numbers in its tags, such as PhotometricInterpretation."""
    file = io.BytesIO()
    Image.fromarray(values).save(file, "TIFF", tiffinfo={339: changed.get("sample_format", 1)})
    content = bytearray(file.getvalue())
    (directory,) = struct.unpack_from("<I", content, 4)
    for place in range(directory + 2, directory + 2 + 12 * struct.unpack_from("<H", content, directory)[0], 12):
        name = {258: "bits", 262: "photometric"}.get(struct.unpack_from("<H", content, place)[0])
        if name in changed:
            struct.pack_into("<H", content, place + 8, changed[name])
    return bytes(content)


def test_grey_values_whose_range_pillow_misreads_are_refused():
    deep = np.array([[0, 257 * 100, 65_535]], np.uint16)
    assert read(tiff(deep)).pixels[0, :, 0].tolist() == [0, 100, 255]
    for content in (tiff(deep, photometric=0), tiff(deep, bits=12)):
        with pytest.raises(ValueError, match="12 bits or a sign, or 0 is white"):
            read(content)
    with pytest.raises(ValueError, match="12 bits or a sign, or 0 is white"):
        read(tiff(np.array([[1, 200]], np.uint8), sample_format=2))


def make_profile(name: bytes, gamma: float, space: bytes = b"RGB ", wide: bool = False) -> bytes:
    """Make an ICC profile of a gamma curve, with the primaries of sRGB or, if wide, of Display P3."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65_536)) for value in values)

    srgb = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141))
    p3 = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + bytes(79),
        b"cprt": b"text\0\0\0\0x\0\0\0",
        b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249),
        b"kTRC": curve,
    }
    for letter, primary in zip("rgb", p3 if wide else srgb, strict=True):
        tags |= {f"{letter}TRC".encode(): curve, f"{letter}XYZ".encode(): b"XYZ \0\0\0\0" + fixed(*primary)}
    table, data = struct.pack(">I", len(tags)), b""
    for tag, value in tags.items():
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    begin = struct.pack(">I", 128 + len(table + data)) + b"lcms\2\x10\0\0mntr" + space + b"XYZ " + bytes(12) + b"acsp"
    return begin + bytes(28) + fixed(0.9642, 1, 0.8249) + bytes(48) + table + data


def make_srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("JPEG", {})])
def test_colours_are_converted_to_srgb(kind, options):
    plain = read(encode(Image.fromarray(COLORS), kind, **options)).pixels
    wide = read(encode(Image.fromarray(COLORS), kind, icc_profile=make_profile(b"Wide", 2.2, wide=True), **options))
    assert wide.color_profile == "converted: Wide"
    assert wide.pixels[0, 0, 0] > plain[0, 0, 0]  # the red of a wide gamut is stronger than the same number in sRGB
    assert np.array_equal(to_rgb(open_image(io.BytesIO(encode(Image.fromarray(COLORS), kind, **options)))), plain)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_srgb_and_missing_profiles_leave_pixels_equal(mode):
    ramp = Image.fromarray(np.arange(256 * 3, dtype=np.uint8).reshape(16, 16, 3)).convert(mode)
    plain, profiled = read(encode(ramp, "PNG")), read(encode(ramp, "PNG", icc_profile=make_srgb()))
    assert np.array_equal(plain.pixels, profiled.pixels)
    assert (plain.color_profile, profiled.color_profile) == ("", "sRGB")


@pytest.mark.parametrize("profile", [b"", b"no profile", make_profile(b"Grey", 2.2, b"GRAY"), make_srgb()[:300]])
def test_profile_that_cannot_be_used_is_ignored_with_note(profile):
    content = png([1, 2, 3], 8, 2, chunk(b"iCCP", b"name\0\0" + zlib.compress(profile)))
    assert read(content).color_profile.startswith("ignored: ")
    assert read(content).pixels.tolist() == [[[1, 2, 3]]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_profile_converts_grey_images_and_never_masks(dtype, tmp_path):
    values = np.array([[0, 20, 255]], np.uint8).astype(dtype) * (257 if dtype == np.uint16 else 1)
    Image.fromarray(values).save(tmp_path / "grey.png", icc_profile=make_profile(b"Grey", 1.0, b"GRAY"))
    found = read_rgb(tmp_path / "grey.png", 100)
    assert found.color_profile == "converted: Grey"
    assert found.pixels[0].tolist() == [[0] * 3, [79] * 3, [255] * 3]
    if dtype == np.uint8:
        Image.fromarray(values).convert("LA").save(tmp_path / "la.png", icc_profile=make_profile(b"", 1.0, b"GRAY"))
        assert np.array_equal(read_rgb(tmp_path / "la.png", 100).pixels, found.pixels)
    Image.fromarray(values[:, :2]).save(tmp_path / "mask.png", icc_profile=make_profile(b"Grey", 1.0, b"GRAY"))
    assert to_mask(open_image(tmp_path / "mask.png")).tolist() == [[False, True]]


def test_image_without_profile_needs_no_colour_management():
    import subprocess
    import sys

    script = (
        "import io, sys; from PIL import Image; from lesion_segmentation.images.read import read_rgb; f = io.BytesIO();"
        "Image.new('RGB', (9, 9)).save(f, 'PNG'); f.seek(0); read_rgb(f, 99); assert 'PIL.ImageCms' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_damaged_side_information_is_ignored():
    bomb = zlib.compress(bytes(8_000_000))
    damaged = [
        chunk(b"tEXt", b"Title\0wrong checksum", 7),
        chunk(b"eXIf", b"wrong checksum", 7),
        chunk(b"iCCP", b"name\0\0" + bomb),
        chunk(b"zTXt", b"name\0\0" + bomb),
        chunk(b"zTXt", b"name\0\5unknown compression"),
        chunk(b"gAMA", b"\0"),
        chunk(b"pHYs", b"\0"),
    ]
    for extra in damaged:
        content = png([1, 2, 3], 8, 2, extra)
        assert read(content).pixels.tolist() == [[[1, 2, 3]]], extra[:30]
        assert read_pixel_count(io.BytesIO(content)) == 1
    with pytest.raises(ValueError, match="not a readable image"):
        read(png([1, 2, 3], 8, 2, chunk(b"tRNS", bytes(6), 7)))  # it could make pixels transparent


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_orientation_is_applied_although_other_exif_is_damaged(kind):
    entries = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0) + struct.pack("<HHI4s", 0x100, 2, 3, b"ab")  # a width of text
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)
    assert read(encode(Image.new("RGB", (6, 4)), kind, exif=exif)).pixels.shape == (6, 4, 3)
    assert read(encode(Image.new("RGB", (6, 4)), kind, exif=b"Exif\0\0no TIFF header")).pixels.shape == (4, 6, 3)
