"""Cases as they come: images, masks and annotations paired by case id, read and checked once, then resized."""

import logging
import warnings
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError
from pydantic import Field

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.parameter_model import ParameterModel
from lesion_segmentation.data.annotations import ANNOTATIONS, parse_annotations
from lesion_segmentation.data.packed_masks import PackedMasks
from lesion_segmentation.data.perceptual_hash import hash_image
from lesion_segmentation.images.read import pixel_hash, to_mask, to_rgb
from lesion_segmentation.images.resize import Framing, Resizing, resize_image, resize_mask

logger = logging.getLogger(__name__)

RawImages = Mapping[str, Callable[[], Image.Image]]
"""case_id to a function that reads and decodes the picture."""

PH2 = "PH2"


class DataSettings(ParameterModel):
    """The parameters `data`.

    Attributes:
        name: Of the data set, wherever it is told of. PH2 is what PH2's manifest says: other pixels are not called so.
        images, masks, table: Under --env custom, on the command line: the folders, and a .csv if there is one.
    """

    name: str = Field(PH2, min_length=1, max_length=40, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")
    images: str | None = None
    masks: str | None = None
    table: str | None = None


class ImageSize(ParameterModel):
    """Height and width in pixels that every image and mask is resized to, and how (lesion_segmentation.images.resize)."""

    height: int = Field(192, ge=32, le=4096)
    width: int = Field(256, ge=32, le=4096)
    resizing: Resizing = "cubic"
    framing: Framing = "stretch"


class Cases(NamedTuple):
    """What is known of a data set once all of its files were read.

    Attributes:
        cases: One row a case, sorted by case_id: case_id, source (the data set's name), the annotations in words,
            width and height in pixels, lesion_area (fraction of the picture), touches_border, and the SHA-256 of
            the decoded pixels of image and mask.
        images: case_id to uint8 (height, width, 3).
        native_masks: case_id to uint8 (H, W), 0 or 1, each of its own H and W.
        perceptual_hashes: case_id to boolean (8, 256), of the image as it came.
        example_images: The first, the smallest and the largest image at their own sizes, uint8 (H, W, 3): for figures.
    """

    cases: pd.DataFrame
    images: dict[str, np.ndarray]
    native_masks: Mapping[str, np.ndarray]
    perceptual_hashes: dict[str, np.ndarray]
    example_images: dict[str, np.ndarray]


def read_cases(
    ph2_images: RawImages,
    ph2_masks: RawImages,
    ph2_annotations: str | pd.DataFrame,
    image_size: ImageSize,
    data: DataSettings,
) -> Cases:
    """Pair images, masks and annotations by case id and check them all before any other work; each file is read once.

    Args:
        ph2_images: Dermoscopic images, any size, read as RGB.
        ph2_masks: Expert masks of the image's size with at most two values; the higher one is the lesion.
        ph2_annotations: PH2_dataset.txt; of other data a table with case_id, diagnosis, group and what else is known.
        image_size: What images are resized to.
        data: The data set's name.

    Raises:
        InputError: Names every case that cannot be used, and why.
    """
    case_ids = sorted(set(ph2_images) | set(ph2_masks))
    annotations, problems = _read_annotations(ph2_annotations, case_ids)
    rows, hashes = [], {}
    images, native_masks, perceptual_hashes, examples = {}, PackedMasks(), {}, Examples()
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
        images[case_id] = resize_image(image, **image_size.model_dump())
        native_masks.add(case_id, mask)
        perceptual_hashes[case_id] = hash_image(image)
        examples.add(case_id, image)
    problems += _find_duplicates(hashes) + _find_nothing([row["lesion_area"] for row in rows])
    if not case_ids:
        problems.append("no image and no mask found")
    if problems:
        raise InputError.from_problems(
            "The cases cannot be used",
            problems,
            "Nothing was written. Mend or replace these files; make ph2 FROM=... checks a whole copy of PH2.",
        )
    cases = _join(pd.DataFrame(rows), annotations, data.name)
    return Cases(cases, images, native_masks, perceptual_hashes, examples.chosen)


def resize_masks(native_masks: Mapping[str, np.ndarray], image_size: ImageSize) -> dict[str, np.ndarray]:
    """Resize by nearest neighbour, which keeps masks binary: case_id to uint8 (height, width), 0 or 1."""
    height, width, framing = image_size.height, image_size.width, image_size.framing
    resized, vanished = {}, []
    for case_id, mask in native_masks.items():
        resized[case_id] = resize_mask(mask, height, width, framing)
        if mask.any() and not resized[case_id].any():
            vanished.append(case_id)
    if vanished:
        logger.warning("%d lesions vanish at %d x %d, such as that of %s", len(vanished), width, height, vanished[0])
    return resized


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


def _read_image(case_id: str, pictures: RawImages, problems: list[str]) -> np.ndarray | None:
    if case_id not in pictures:
        problems.append(f"{case_id}: a mask without an image")
        return None
    try:
        return to_rgb(_decode(pictures[case_id]))
    except Exception as error:  # Pillow raises many kinds for damaged files; each is reported, none hidden
        problems.append(f"{case_id}: the image cannot be read ({_cause(error)})")
        return None


def _read_mask(case_id: str, pictures: RawImages, problems: list[str]) -> np.ndarray | None:
    if case_id not in pictures:
        problems.append(f"{case_id}: an image without a mask")
        return None
    try:
        mask = to_mask(_decode(pictures[case_id]))
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


def _read_annotations(given: str | pd.DataFrame, case_ids: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """The table by case id, and what is wrong with it, or with the pictures by it."""
    name = ANNOTATIONS if isinstance(given, str) else "the table"
    try:
        table = parse_annotations(given) if isinstance(given, str) else given
    except InputError as error:  # which cases it names cannot be trusted then
        return pd.DataFrame(), [f"{name}: {problem}" for problem in error.problems]
    annotations = table.set_index("case_id")
    problems = [f"{case_id}: not found in {name}" for case_id in case_ids if case_id not in annotations.index]
    problems += [
        f"{case_id}: in {name}, but there is neither an image nor a mask"
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


def _find_nothing(areas: list[object]) -> list[str]:
    """A set whose masks all say the same was stored in another way than it is read."""
    return [
        f"all masks are {kind}: is the lesion drawn in another channel, or in {color} on {color}?"
        for kind, color, area in (("empty", "black", 0.0), ("full", "white", 1.0))
        if len(areas) > 1 and set(areas) == {area}
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


def _join(measured: pd.DataFrame, annotations: pd.DataFrame, name: str) -> pd.DataFrame:
    cases = measured.join(annotations, on="case_id")
    if "source" not in cases:  # of data that come from one place
        cases["source"] = name
    cases["source"] = cases["source"].where(_is_as_named(cases), f"not {PH2}")
    first = ["case_id", "source", *(word for word in annotations.columns if word != "source")]
    return cases[first + [column for column in cases.columns if column not in first]]


def _is_as_named(cases: pd.DataFrame) -> np.ndarray:
    """Whether each case may be called as it is: what PH2 is, its manifest says, by the pixels."""
    others = (cases["source"] != PH2).to_numpy()
    if others.all():
        return others
    from lesion_segmentation.data.sources.ph2 import read_manifest

    known = read_manifest()
    pixels = set(zip(known.index, known["image_sha256"], known["mask_sha256"], strict=True))
    found = zip(cases["case_id"], cases["image_sha256"], cases["mask_sha256"], strict=True)
    return np.array([each in pixels for each in found], dtype=bool) | others
