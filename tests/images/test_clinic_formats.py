"""HEIC and DICOM files, made by pillow-heif and pydicom."""

import io
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms

from lesion_segmentation.images.clinic_formats import encode_segmentation
from lesion_segmentation.images.read import ImageTooLarge, open_image, read_pixel_count, read_rgb, to_rgb

pydicom = pytest.importorskip("pydicom", reason="the extra clinic is not installed")
heif = pytest.importorskip("pillow_heif", reason="the extra clinic is not installed")

from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.uid import (  # noqa: E402
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
)

HEIGHT, WIDTH = 40, 60
LIMIT = 10**8


@pytest.fixture
def pixels():
    """Return a smooth image, which lossy compression hardly changes."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([4 * columns, 6 * rows, 2 * (rows + columns)], axis=2).astype(np.uint8)


def write_dicom(content, interpretation, syntax=ExplicitVRLittleEndian, bits=8, **elements) -> bytes:
    """Return a DICOM photograph with this content of the element PixelData."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    is_grey = interpretation in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    values = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.4",
        "SOPInstanceUID": "1.2.3.4",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.3",
        "Modality": "XC",
        "PatientName": "JANEDOE",  # a name without a caret makes highdicom warn
        "PatientID": "secret-17",
        "Rows": HEIGHT,
        "Columns": WIDTH,
        "SamplesPerPixel": 1 if is_grey else 3,
        "BitsAllocated": 8 if bits == 8 else 16,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        "PhotometricInterpretation": interpretation,
        **({} if is_grey else {"PlanarConfiguration": 0}),
        **elements,
    }
    for name, value in values.items():
        setattr(dataset, name, value)
    if content is not None:
        dataset.PixelData = encapsulate([content]) if syntax.is_encapsulated else content
        dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    dataset.save_as(buffer := io.BytesIO(), enforce_file_format=True)
    return buffer.getvalue()


def read(content: bytes) -> np.ndarray:
    return read_rgb(io.BytesIO(content), LIMIT).pixels


def compress(pixels, **options) -> bytes:
    Image.fromarray(pixels).save(buffer := io.BytesIO(), **options)
    return buffer.getvalue()


def to_ybr(pixels) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).convert("YCbCr"))


def test_colors_are_read_by_pixel_and_by_plane(pixels):
    assert np.array_equal(read(write_dicom(pixels.tobytes(), "RGB")), pixels)
    planes = pixels.transpose(2, 0, 1).tobytes()
    assert np.array_equal(read(write_dicom(planes, "RGB", PlanarConfiguration=1)), pixels)


@pytest.mark.parametrize(("interpretation", "turned"), [("MONOCHROME1", True), ("MONOCHROME2", False)])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_grey_values_are_scaled_to_8_bits(interpretation, turned, bits):
    grey = np.arange(HEIGHT * WIDTH, dtype=np.int64).reshape(HEIGHT, WIDTH) * (2**bits - 1) // (HEIGHT * WIDTH - 1)
    content = grey.astype(np.uint8 if bits == 8 else np.uint16).tobytes()
    expected = grey * 255 / (2**bits - 1)
    found = read(write_dicom(content, interpretation, bits=bits))
    assert np.abs(found - (255 - expected if turned else expected)[..., None]).max() <= 0.5


@pytest.mark.parametrize("bits", [8, 16])
def test_palette_is_applied(bits):
    indices = (np.arange(HEIGHT * WIDTH) % 256).astype(np.uint8).reshape(HEIGHT, WIDTH)
    ramps = {"Red": np.arange(256), "Green": np.arange(255, -1, -1), "Blue": np.full(256, 77)}
    elements = {}
    for color, ramp in ramps.items():
        table = (ramp * (257 if bits == 16 else 1)).astype(f"<u{bits // 8}")
        elements[f"{color}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        elements[f"{color}PaletteColorLookupTableData"] = table.tobytes()
    expected = np.stack([ramp[indices] for ramp in ramps.values()], axis=2)
    assert np.array_equal(read(write_dicom(indices.tobytes(), "PALETTE COLOR", **elements)), expected)


def test_luminance_and_color_differences_become_rgb(pixels):
    ybr = to_ybr(pixels)
    assert np.abs(read(write_dicom(ybr.tobytes(), "YBR_FULL")).astype(int) - pixels).max() <= 3
    pairs = ybr.reshape(HEIGHT, WIDTH // 2, 2, 3)  # two luminances share their color differences
    halved = np.concatenate([pairs[..., 0], pairs[:, :, 0, 1:]], axis=2)
    assert np.abs(read(write_dicom(halved.tobytes(), "YBR_FULL_422")).astype(int) - pixels).max() <= 8


@pytest.mark.parametrize(
    ("interpretation", "syntax", "options", "tolerance"),
    [
        ("YBR_FULL_422", JPEGBaseline8Bit, {"format": "JPEG", "quality": 95}, 12),
        ("YBR_RCT", JPEG2000Lossless, {"format": "JPEG2000", "no_jp2": True, "mct": 1}, 0),
        ("YBR_ICT", JPEG2000, {"format": "JPEG2000", "no_jp2": True, "mct": 1, "irreversible": True}, 4),
    ],
)
def test_compressed_pixels_are_read(pixels, interpretation, syntax, options, tolerance):
    found = read(write_dicom(compress(pixels, **options), interpretation, syntax))
    assert np.abs(found.astype(int) - pixels).max() <= tolerance


def test_color_profile_is_converted(pixels):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert read_rgb(io.BytesIO(write_dicom(pixels.tobytes(), "RGB", ICCProfile=profile)), LIMIT).color_profile == "sRGB"


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        ("it has 2 pages, expected one", {"NumberOfFrames": 2}),
        ("its modality is CT, expected visible light", {"Modality": "CT"}),
        ("its modality is SEG, expected visible light", {"Modality": "SEG"}),
        ("its photometric interpretation is ARGB, which is not supported", {"PhotometricInterpretation": "ARGB"}),
        ("its pixels have a sign", {"PixelRepresentation": 1}),
        ("its pixels cannot be decoded", {"Rows": 4000}),
        ("its pixels do not use the lowest bits", {"HighBit": 6}),
        ("its pixels (are not of the kind|cannot be decoded)", {"SamplesPerPixel": 1}),
    ],
)
def test_unsuitable_files_are_refused_without_data_of_the_patient(pixels, message, changes):
    with pytest.raises(ValueError, match=message) as found:
        read(write_dicom(pixels.tobytes(), "RGB", **changes))
    assert "DOE" not in str(found.value)
    assert "secret" not in str(found.value)


@pytest.mark.parametrize("length", [132, 200, 700, -100])
def test_truncated_file_is_refused(pixels, length):
    with pytest.raises(ValueError, match=r"DICOM file|cannot be decoded"):
        read(write_dicom(pixels.tobytes(), "RGB")[:length])


def test_deflated_file_is_refused_before_it_unpacks():
    content = write_dicom(bytes(3 * HEIGHT * WIDTH), "RGB", DeflatedExplicitVRLittleEndian)
    with pytest.raises(ValueError, match="it is deflated"):
        read(content)


def test_header_of_very_many_elements_is_refused(pixels):
    content = write_dicom(pixels.tobytes(), "RGB")
    place = content.index(b"\xe0\x7f\x10\x00")  # PixelData
    empty = b"".join(b"\x09\x00" + bytes([i % 256, 1 + i // 256]) + b"UN\0\0\0\0\0\0" for i in range(60_000))
    with pytest.raises(ValueError, match="its header has too many elements"):
        read(content[:place] + empty + content[place:])


def test_compressed_image_of_another_size_is_refused_before_decoding(pixels, monkeypatch):
    content = write_dicom(compress(np.tile(pixels, (3, 1, 1)), format="JPEG"), "YBR_FULL_422", JPEGBaseline8Bit)
    monkeypatch.setattr("pydicom.pixels.utils.pixel_array", None)
    with pytest.raises(ValueError, match="its pixels are not of the size that its header names"):
        read(content)


def test_palette_of_8_bits_in_words_of_16_is_read():
    indices = (np.arange(HEIGHT * WIDTH) % 256).astype(np.uint8).reshape(HEIGHT, WIDTH)
    elements = {}
    for color in ("Red", "Green", "Blue"):
        elements[f"{color}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        elements[f"{color}PaletteColorLookupTableData"] = np.arange(256, dtype="<u2").tobytes()
    assert np.array_equal(read(write_dicom(indices.tobytes(), "PALETTE COLOR", **elements))[..., 0], indices)


def test_file_without_pixels_or_with_an_unknown_compression_is_refused(pixels):
    with pytest.raises(ValueError, match="cannot be decoded"):
        read(write_dicom(None, "RGB"))
    with pytest.raises(ValueError, match=r"its compression JPEG-LS Lossless .* is not supported|cannot be decoded"):
        read(write_dicom(b"nothing ", "RGB", JPEGLSLossless))


def test_size_is_known_and_limited_before_decoding(pixels):
    content = write_dicom(pixels.tobytes(), "RGB")
    assert read_pixel_count(io.BytesIO(content)) == HEIGHT * WIDTH
    with pytest.raises(ImageTooLarge, match="it has 60 x 40 pixels, expected at most 100"):
        open_image(io.BytesIO(content), 100)


def test_heic_is_read_upright(pixels):
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[274] = 6  # turn clockwise
    heif.from_pillow(image).save(buffer := io.BytesIO(), quality=-1, chroma=444, exif=exif.tobytes())
    found = to_rgb(open_image(io.BytesIO(buffer.getvalue())))
    assert found.shape == (WIDTH, HEIGHT, 3)
    assert np.abs(found.astype(int) - np.rot90(pixels, -1)).max() <= 6
    assert read_pixel_count(io.BytesIO(buffer.getvalue())) == HEIGHT * WIDTH


def test_damaged_heic_and_several_images_are_refused(pixels):
    heif.from_pillow(Image.fromarray(pixels)).save(buffer := io.BytesIO(), quality=90)
    with pytest.raises(ValueError, match=r"damaged|not a readable image"):
        read(buffer.getvalue()[:300])
    several = heif.from_pillow(Image.fromarray(pixels))
    several.add_from_pillow(Image.fromarray(255 - pixels))
    several.save(buffer := io.BytesIO(), quality=90)
    with pytest.raises(ValueError, match="it has 2 pages, expected one"):
        read(buffer.getvalue())


class Missing:
    """Finder that makes Python believe that a package is not installed."""

    def __init__(self, package):
        self.package = package

    def find_spec(self, name, *_):
        if name == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize(("package", "kind"), [("pydicom", "DICOM"), ("pillow_heif", "HEIC")])
def test_missing_extra_is_named(pixels, package, kind, monkeypatch):
    heif.from_pillow(Image.fromarray(pixels)).save(buffer := io.BytesIO(), quality=90)
    content = buffer.getvalue() if kind == "HEIC" else write_dicom(pixels.tobytes(), "RGB")
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Missing(package), *sys.meta_path])
    with pytest.raises(ValueError, match=r"Install the extra clinic: pip install 'lesion-segmentation\[clinic\]'"):
        read(content)


def test_segmentation_has_the_mask_and_the_patient_of_its_image(pixels):
    import highdicom

    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[5:20, 30:50] = True
    content = write_dicom(pixels.tobytes(), "RGB")
    found = highdicom.seg.segread(io.BytesIO(encode_segmentation(content, mask)))
    assert np.array_equal(found.pixel_array.squeeze(), mask)
    assert (found.PatientName, found.StudyInstanceUID) == ("JANEDOE", "1.2.3")
    assert found.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"
    again = highdicom.seg.segread(io.BytesIO(encode_segmentation(content, mask)))
    other = highdicom.seg.segread(io.BytesIO(encode_segmentation(content, ~mask)))
    assert again.SOPInstanceUID == found.SOPInstanceUID != other.SOPInstanceUID
    with pytest.raises(ValueError, match="no DICOM segmentation can be written for it"):
        encode_segmentation(compress(pixels, format="PNG"), mask)


def test_segmentation_is_written_although_the_header_has_invalid_values(pixels, recwarn, caplog):
    import highdicom

    mask = np.eye(HEIGHT, WIDTH, dtype=bool)
    invalid = {"StudyDate": "2024-01-05", "PatientSex": "female", "PatientBirthDate": "5.1.1980"}
    content = write_dicom(pixels.tobytes(), "RGB", **invalid)
    found = highdicom.seg.segread(io.BytesIO(encode_segmentation(content, mask)))
    assert (found.StudyDate, found.PatientSex, found.PatientName) == ("", "", "JANEDOE")
    assert "JANEDOE" not in caplog.text + "".join(str(warning.message) for warning in recwarn)
