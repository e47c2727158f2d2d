"""Cases as they come: images, masks and annotations paired by case id, read and checked once, then resized."""

import hashlib
import logging
import warnings
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError
from pydantic import Field

from lesion_segmentation.data.annotations import parse_annotations
from lesion_segmentation.errors import InputError
from lesion_segmentation.group import Group
from lesion_segmentation.resizing import resize_image, resize_mask

logger = logging.getLogger(__name__)

RawPictures = Mapping[str, Callable[[], Image.Image]]
"""case_id to a function that reads and decodes the picture."""

SYNTHETIC_PREFIX = "SYN"
"""Case ids of synthetic cases begin so: the label travels with the data, not with a setting."""


class ImageSize(Group):
    """Height and width in pixels that every image and mask is resized to."""

    height: int = Field(192, ge=32, le=4096)
    width: int = Field(256, ge=32, le=4096)


class Cases(NamedTuple):
    """What is known of a data set once all of its files were read.

    Attributes:
        cases: One row a case, sorted by case_id: case_id, source ("PH2" or "synthetic"), the annotations in words,
            width and height in pixels, lesion_area (fraction of the picture), touches_border, and the SHA-256 of
            the decoded pixels of image and mask.
        images: case_id to uint8 (height, width, 3), resized with Lanczos, as the paper's code does.
        native_masks: case_id to uint8 (H, W), 0 or 1, each of its own H and W.
        example_images: The first, the smallest and the largest image at their own sizes, uint8 (H, W, 3): for figures.
    """

    cases: pd.DataFrame
    images: dict[str, np.ndarray]
    native_masks: dict[str, np.ndarray]
    example_images: dict[str, np.ndarray]


def read_cases(ph2_images: RawPictures, ph2_masks: RawPictures, ph2_annotations: str, image_size: ImageSize) -> Cases:
    """Pair images, masks and annotations by case id and check them all before any other work; each file is read once.

    Args:
        ph2_images: Dermoscopic images, any size, read as RGB.
        ph2_masks: Expert masks of the image's size with at most two values; the higher one is the lesion.
        ph2_annotations: PH2_dataset.txt.
        image_size: What images are resized to.

    Raises:
        InputError: Names every case that cannot be used, and why.
    """
    case_ids = sorted(set(ph2_images) | set(ph2_masks))
    annotations, problems = _read_annotations(ph2_annotations, case_ids)
    rows, hashes = [], {}
    images, native_masks, examples = {}, {}, Examples()
    for case_id in case_ids:
        image = _read_image(case_id, ph2_images, problems)
        mask = _read_mask(case_id, ph2_masks, problems)
        if image is not None:
            hashes[case_id] = pixel_hash(image)
        if image is None or mask is None:
            continue
        if image.shape[:2] != mask.shape:
            problems.append(f"{case_id}: the image is {_size(image)}, its mask {_size(mask)}; expected the same size")
        rows.append({"case_id": case_id, **_measure(image, mask), "image_sha256": hashes[case_id]})
        images[case_id] = resize_image(image, image_size.height, image_size.width)
        native_masks[case_id] = mask.astype(np.uint8)
        examples.add(case_id, image)
    problems += _find_duplicates(hashes)
    if not case_ids:
        problems.append("no image and no mask found")
    if problems:
        raise InputError.from_problems(
            "The cases cannot be used",
            problems,
            "Nothing was written. Mend or replace these files; make ph2 FROM=... checks a whole copy of PH2.",
        )
    return Cases(_join(pd.DataFrame(rows), annotations), images, native_masks, examples.chosen)


def resize_masks(native_masks: Mapping[str, np.ndarray], image_size: ImageSize) -> dict[str, np.ndarray]:
    """Resize by nearest neighbour, which keeps masks binary: case_id to uint8 (height, width), 0 or 1."""
    height, width = image_size.height, image_size.width
    return {case_id: resize_mask(mask, height, width) for case_id, mask in native_masks.items()}


class Examples:
    """The first, the smallest and the largest of the images that it is shown, one after the other."""

    def __init__(self) -> None:
        self._by_role: dict[str, tuple[str, np.ndarray]] = {}

    @property
    def chosen(self) -> dict[str, np.ndarray]:
        """case_id to image, each once."""
        return dict(self._by_role.values())

    def add(self, case_id: str, image: np.ndarray) -> None:
        """Keep the image if it is one of the three so far; of equals the earlier one is kept."""
        kept = self._by_role
        kept.setdefault("first", (case_id, image))
        if "smallest" not in kept or image.size < kept["smallest"][1].size:
            kept["smallest"] = (case_id, image)
        if "largest" not in kept or image.size > kept["largest"][1].size:
            kept["largest"] = (case_id, image)


def binary_mask(picture: Image.Image) -> np.ndarray:
    """A mask picture of at most two values, in whatever mode it is stored, as a boolean array (H, W).

    Raises:
        ValueError: More than two values; its text lists some of them.
    """
    grey = np.asarray(picture.convert("L"))
    values = np.unique(grey)
    if len(values) > 2:
        shown = ", ".join(str(value) for value in values[:6])
        raise ValueError(f"{len(values)} grey values found ({shown}, ...), expected two at most")
    # One value alone: an empty mask is black, a full one is not.
    return grey > (values[0] if len(values) == 2 else 0)


def pixel_hash(pixels: np.ndarray) -> str:
    """SHA-256 of the shape and the decoded pixels, whatever the file format was."""
    digest = hashlib.sha256(f"{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).tobytes())
    return digest.hexdigest()


def _read_image(case_id: str, pictures: RawPictures, problems: list[str]) -> np.ndarray | None:
    if case_id not in pictures:
        problems.append(f"{case_id}: a mask without an image")
        return None
    try:
        return np.asarray(_decode(pictures[case_id]).convert("RGB"))
    except Exception as error:  # Pillow raises many kinds for damaged files; each is reported, none hidden
        problems.append(f"{case_id}: the image cannot be read ({_cause(error)})")
        return None


def _read_mask(case_id: str, pictures: RawPictures, problems: list[str]) -> np.ndarray | None:
    if case_id not in pictures:
        problems.append(f"{case_id}: an image without a mask")
        return None
    try:
        mask = binary_mask(_decode(pictures[case_id]))
    except Exception as error:
        problems.append(f"{case_id}: the mask cannot be used ({_cause(error)})")
        return None
    if mask.all() or not mask.any():
        logger.warning("%s: the mask is %s", case_id, "full" if mask.all() else "empty")
    return mask


def _decode(read: Callable[[], Image.Image]) -> Image.Image:
    """Read a picture; one of more pixels than Pillow thinks safe is an error, not just a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return read()


def _read_annotations(text: str, case_ids: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """The table by case id, and what is wrong with it, or with the pictures by it."""
    try:
        annotations = parse_annotations(text).set_index("case_id")
    except InputError as error:  # which cases it names cannot be trusted then
        return pd.DataFrame(), [f"PH2_dataset.txt: {problem}" for problem in error.problems]
    problems = [f"{case_id}: not found in PH2_dataset.txt" for case_id in case_ids if case_id not in annotations.index]
    problems += [
        f"{case_id}: in PH2_dataset.txt, but there is neither an image nor a mask"
        for case_id in annotations.index
        if case_id not in case_ids
    ]
    return annotations, problems


def _find_duplicates(hashes: dict[str, str]) -> list[str]:
    first: dict[str, str] = {}
    return [
        f"{case_id}: the image equals that of {known} in every pixel; expected one id a picture"
        for case_id, digest in hashes.items()
        if (known := first.setdefault(digest, case_id)) != case_id
    ]


def _cause(error: Exception) -> str:
    """The innermost message: Kedro's datasets wrap what Pillow says."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, UnidentifiedImageError):
        return "empty, or not a picture"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"


def _measure(image: np.ndarray, mask: np.ndarray) -> dict[str, object]:
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return {
        "width": image.shape[1],
        "height": image.shape[0],
        "lesion_area": float(mask.mean()),
        "touches_border": bool(border.any()),
        "mask_sha256": pixel_hash(mask),
    }


def _join(measured: pd.DataFrame, annotations: pd.DataFrame) -> pd.DataFrame:
    cases = measured.join(annotations, on="case_id")
    source = np.where(cases["case_id"].str.startswith(SYNTHETIC_PREFIX), "synthetic", "PH2")
    cases.insert(1, "source", source)
    words = list(annotations.columns)
    first = ["case_id", "source", *words]
    return cases[first + [column for column in cases.columns if column not in first]]
