"""Pillow plugins for HEIC files of phones and DICOM files of clinics. They need the extra `clinic`."""

import hashlib
import io
import logging
import warnings
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from PIL import Image, ImageFile

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.extras import DISTRIBUTION, explain_missing_extras

if TYPE_CHECKING:
    from pydicom import Dataset

START_BYTES = 132
"""Length of the start of a file that `prepare_format` needs."""
MODALITIES = ("", "DMS", "XC", "GM", "ES", "OT")
"""Modalities that may be visible light: none, dermoscopy, photography, microscopy, endoscopy and other."""
MAX_READS = 100_000
"""Maximum number of reads of a DICOM file. Files of a few megabytes can have millions of elements."""
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
"""Keywords that highdicom copies from an image, and that the standard allows to be empty."""
_YBR = ("YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


def prepare_format(start: bytes) -> tuple[str, ...]:
    """Make Pillow open a HEIC or DICOM file with this start, and return the name of its format; for others, nothing.

    Raises:
        ValueError: The extra `clinic` is not installed.
    """
    try:
        with explain_missing_extras():
            if start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS:
                import pillow_heif

                pillow_heif.register_heif_opener()
                return ("HEIF",)
            if start[128:132] == b"DICM":
                import pydicom.config

                # Values of elements that are not used may be invalid. A message would quote data of a patient.
                pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
                _silence()
                Image.register_open("DICOM", DicomImageFile)
                return ("DICOM",)
    except InputError as error:
        raise ValueError(f"it cannot be read: {error}") from error
    return ()


class DicomImageFile(ImageFile.ImageFile):
    """A DICOM image of visible light with one frame. Messages of errors contain no data of a patient."""

    format, format_description = "DICOM", "DICOM image of visible light"

    def _open(self) -> None:
        from pydicom.errors import InvalidDicomError

        try:
            self._dataset: Dataset | None = _read_dataset(cast("BinaryIO", self.fp))
            self._size = int(self._dataset.Columns), int(self._dataset.Rows)
            self.n_frames = int(self._dataset.get("NumberOfFrames") or 1)
            interpretation = str(self._dataset.PhotometricInterpretation)
            modality = str(self._dataset.get("Modality") or "")
        except (MemoryError, _RefusedError):
            raise
        except InvalidDicomError as error:  # Pillow also calls this plugin for other formats
            raise SyntaxError("not a DICOM file") from error
        except Exception as error:
            raise ValueError(f"it is a damaged DICOM file, or one without an image ({type(error).__name__})") from None
        if modality not in MODALITIES:
            raise ValueError(f"its modality is {modality[:16]}, expected visible light, such as DMS or XC")
        if interpretation not in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", *_YBR):
            raise ValueError(f"its photometric interpretation is {interpretation[:16]}, which is not supported")
        self._mode = "L" if interpretation.startswith("MONOCHROME") else "RGB"
        if profile := self._dataset.get("ICCProfile"):
            self.info["icc_profile"] = bytes(profile)

    def load(self) -> Any:
        if self._dataset is not None:
            try:
                _require_decodable(self._dataset)
                decoded = Image.fromarray(_decode_pixels(self._dataset))
                if (decoded.mode, decoded.size) != (self._mode, self._size):
                    raise _RefusedError("its pixels are not of the kind or size that its header names")
            except (MemoryError, _RefusedError):
                raise
            except Exception as error:
                raise ValueError(f"its pixels cannot be decoded ({type(error).__name__})") from None
            self.im, self._dataset = decoded.im, None
        return super().load()


class _RefusedError(ValueError):
    """Error whose message contains no patient data and may be shown unchanged."""


class _LimitedReader:
    """File that is read at most MAX_READS times. pydicom reads each element and each item of a sequence once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._reads = file, 0
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        self._reads += 1
        if self._reads > MAX_READS:
            raise _RefusedError("its header has too many elements")
        return self._file.read(size)


def _read_dataset(file: BinaryIO, **options: Any) -> "Dataset":
    """Read a DICOM file. A deflated one is refused, since it may unpack to a thousand times its size."""
    from pydicom import dcmread
    from pydicom.filereader import read_dataset
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    file.seek(START_BYTES)
    limited = cast("BinaryIO", _LimitedReader(file))
    meta = read_dataset(limited, False, True, stop_when=lambda tag, *_: tag.group != 2)
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        raise _RefusedError("it is deflated; store it uncompressed, or as JPEG")
    file.seek(0)
    return dcmread(limited, **options)


def encode_segmentation(dicom: bytes, mask: np.ndarray) -> bytes:
    """Return a DICOM segmentation of the DICOM image `dicom` with one segment, the boolean mask (H, W).

    It contains the data of patient and study in the image, and refers to the image. Equal masks of an image get equal
    identifiers.

    Raises:
        ValueError: The image is no DICOM file, or lacks elements that a segmentation needs.
    """
    import highdicom
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    from lesion_segmentation import __version__

    name = DISTRIBUTION
    algorithm = highdicom.AlgorithmIdentificationSequence(name, codes.DCM.ArtificialIntelligence, __version__)
    segment = highdicom.seg.SegmentDescription(
        1, "lesion", codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Lesion, "AUTOMATIC", algorithm
    )
    buffer = io.BytesIO()
    _silence()
    try:
        image = _read_dataset(io.BytesIO(dicom), stop_before_pixels=True)
        for keyword in _MAY_BE_EMPTY:
            if not _is_valid(image, keyword):
                setattr(image, keyword, "")
        series, instance = (
            generate_uid(entropy_srcs=[kind, image.SOPInstanceUID, hashlib.sha256(mask.tobytes()).hexdigest()])
            for kind in ("series", "instance")
        )
        highdicom.seg.Segmentation(
            [image], mask[None], "BINARY", [segment], series_instance_uid=series, series_number=100,
            sop_instance_uid=instance, instance_number=1, manufacturer=name, manufacturer_model_name=name,
            software_versions=__version__, device_serial_number="1",
        ).save_as(buffer)  # fmt: skip
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"no DICOM segmentation can be written for it ({type(error).__name__})") from None
    return buffer.getvalue()


def _is_valid(image: "Dataset", keyword: str) -> bool:
    """Return whether an element exists and has a value that the standard allows, which pydicom does not check here."""
    from pydicom.config import RAISE
    from pydicom.valuerep import validate_value

    try:
        element = image[keyword]
        validate_value(element.VR, str(element.value or ""), RAISE)
    except (KeyError, ValueError):
        return False
    return True


def _silence() -> None:
    """Turn off messages of packages that quote values of DICOM elements."""
    warnings.filterwarnings("ignore", module=r"pydicom|highdicom")
    for name in ("pydicom", "highdicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _require_decodable(dataset: "Dataset") -> None:
    from pydicom.encaps import generate_frames
    from pydicom.pixels.decoders.base import get_decoder

    if dataset.get("PixelRepresentation"):
        raise _RefusedError("its pixels have a sign, expected values from 0")
    if dataset.HighBit != dataset.BitsStored - 1:
        raise _RefusedError("its pixels do not use the lowest bits, which is not supported")
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None or not syntax.is_compressed:
        return
    if not get_decoder(syntax).is_available:
        raise _RefusedError(f"its compression {syntax.name} is not supported; store it uncompressed, or as JPEG")
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    with Image.open(io.BytesIO(frame), formats=("JPEG", "JPEG2000")) as image:  # before memory is used for its pixels
        if image.size != (dataset.Columns, dataset.Rows):
            raise _RefusedError("its pixels are not of the size that its header names")


def _decode_pixels(dataset: "Dataset") -> np.ndarray:
    """Return the pixels, uint8 (H, W, 3), or (H, W) for grey values."""
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    pixels, bits = pixel_array(dataset), int(dataset.BitsStored)  # YBR is converted to RGB
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        pixels, bits = apply_color_lut(pixels, dataset), int(dataset.RedPaletteColorLookupTableDescriptor[2])
    if pixels.max() >= 2**bits:
        raise _RefusedError(f"its pixels have more than the {bits} bits that its header names")
    scaled = (pixels if bits == 8 else np.round(pixels * (255 / (2**bits - 1)))).astype(np.uint8)
    return 255 - scaled if dataset.PhotometricInterpretation == "MONOCHROME1" else scaled
