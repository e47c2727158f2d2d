"""Reading of cases: images, masks and annotations are paired by case id, checked and resized."""

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from operator import gt, lt
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError
from pydantic import Field

from lesion_segmentation.core.errors import InputError, first_line, pluralize
from lesion_segmentation.core.extras import require
from lesion_segmentation.core.parameter_model import ParameterModel
from lesion_segmentation.data.annotations import ANNOTATIONS, parse_annotations
from lesion_segmentation.data.annotators import Consensus, RawMasks, Reader, form_consensus
from lesion_segmentation.data.perceptual_hash import hash_image
from lesion_segmentation.data.sources.ph2 import match_manifest
from lesion_segmentation.images.read import pixel_hash, to_mask, to_rgb
from lesion_segmentation.images.resize import Framing, Resizing, resize_image, resize_mask

logger = logging.getLogger(__name__)

RawImages = Mapping[str, Reader]
"""case_id to a function that reads and decodes the image."""

PH2 = "PH2"


class DataSettings(ParameterModel):
    """The parameters `data`.

    Attributes:
        name: The data set's name in reports and logs. Only cases whose pixels match PH2's manifest are reported as PH2.
        images: Folder of the images that `--env custom` reads.
        masks: Folder of the masks that `--env custom` reads, as images or LabelMe files, or a COCO file. If several
            subfolders contain masks of the same case, each subfolder is one annotator.
        table: Optional .csv file that `--env custom` reads, with the column case_id and any further columns. Its column
            annotation_style names how a mask was outlined; an empty cell stands for the source.
        ignore: Patterns of file names in these folders, separated by blanks, that are skipped.
        leave_out: The name of a list of cases to leave out. The catalog of isic_and_ph2 reads it.
        consensus: The truth of cases with masks by several annotators. `majority` marks what at least half of them
            mark; `staple` weights the annotators; `soft` trains on the mean of their masks and scores by the majority.
    """

    name: str = Field(PH2, min_length=1, max_length=40, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")
    images: str | None = None
    masks: str | None = None
    table: str | None = None
    ignore: str = ""
    leave_out: str | None = None
    consensus: Consensus = "majority"


class ImageSize(ParameterModel):
    """The parameters `image_size`.

    Attributes:
        height: Height in pixels of all resized images and masks.
        width: Width in pixels of all resized images and masks.
        resizing: Antialiasing filter for images. The paper's code uses `lanczos`.
        framing: Method to fit an image of another aspect ratio. `stretch` scales both sides independently; `pad` keeps
            the aspect ratio and pads with black.
    """

    height: int = Field(192, ge=32, le=4096)
    width: int = Field(256, ge=32, le=4096)
    resizing: Resizing = "cubic"
    framing: Framing = "stretch"


class PackedMasks(Mapping[str, np.ndarray]):
    """Mapping from case_id to uint8 (H, W), 0 or 1, packed to one bit per pixel and unpacked at each access."""

    def __init__(self) -> None:
        self._packed: dict[str, tuple[np.ndarray, tuple[int, ...]]] = {}

    def add(self, case_id: str, mask: np.ndarray) -> None:
        """Add a boolean mask (H, W)."""
        self._packed[case_id] = np.packbits(mask), mask.shape

    def __getitem__(self, case_id: str) -> np.ndarray:
        bits, shape = self._packed[case_id]
        return np.unpackbits(bits, count=math.prod(shape)).reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


class Cases(NamedTuple):
    """A data set after reading.

    Attributes:
        cases: One row per case, sorted by case_id: case_id, source (the data set's name), the annotations in words,
            width and height in pixels, lesion_area (fraction of the image), touches_border, and the SHA-256 of the
            decoded pixels of image and mask.
        images: case_id to the resized image, uint8 (height, width, 3).
        native_masks: case_id to the mask at its native size, uint8 (H, W), 0 or 1.
        perceptual_hashes: case_id to the hashes of the native image, boolean (8, 256).
        example_images: case_id to the first, the smallest and the largest image at native size, uint8 (H, W, 3).
        annotator_masks: <case_id>/<annotator> to the resized mask, uint8 (height, width), 0 or 1. It is empty if no
            case names its annotators.
    """

    cases: pd.DataFrame
    images: dict[str, np.ndarray]
    native_masks: Mapping[str, np.ndarray]
    perceptual_hashes: dict[str, np.ndarray]
    example_images: dict[str, np.ndarray]
    annotator_masks: dict[str, np.ndarray]


def read_cases(
    ph2_images: RawImages,
    ph2_masks: RawMasks,
    ph2_annotations: str | pd.DataFrame,
    image_size: ImageSize,
    data: DataSettings,
) -> Cases:
    """Pair images, masks and annotations by case id, check all of them, and resize the images.

    Images of any size are read as RGB. Masks have the size of their image and at most two values, of which the higher
    one is the lesion. The mask of a case with several annotators is their consensus. The annotations are the text of
    PH2_dataset.txt, or a table with case_id, diagnosis and optional columns. An `InputError` lists all cases that
    cannot be used, with the reasons.
    """
    cases, problems = collect_cases(ph2_images, ph2_masks, ph2_annotations, image_size, data)
    if problems:
        check = "make ph2 FROM=..." if isinstance(ph2_annotations, str) else "kedro check-data <images> <masks> <table>"
        remedy = f"Nothing was written. Fix or replace these files. To check a whole data set, use {check}."
        raise InputError.from_problems("The cases cannot be used", problems, remedy)
    return cases


def collect_cases(
    raw_images: RawImages, raw_masks: RawMasks, given: str | pd.DataFrame, image_size: ImageSize, data: DataSettings
) -> tuple[Cases, list[str]]:
    """Return the cases that `read_cases` can use, and the problems of all others."""
    if data.consensus == "staple":
        require("SimpleITK")
    case_ids = sorted(set(raw_images) | set(raw_masks))
    annotations, problems = _read_annotations(given, case_ids)
    rows, hashes = [], {}
    examples: dict[str, tuple[str, np.ndarray]] = {}
    images, native_masks, perceptual_hashes = {}, PackedMasks(), {}
    annotator_masks: dict[str, np.ndarray] = {}
    for case_id in case_ids:
        image = _read(case_id, raw_images, to_rgb, "a mask but no image", "the image cannot be read", problems)
        masks = _read_masks(case_id, raw_masks, problems)
        mask = form_consensus([*masks.values()], data.consensus) if masks else None
        if mask is not None and (mask.all() or not mask.any()):
            logger.warning("%s: the mask is %s", case_id, "full" if mask.all() else "empty")
        if image is not None:
            hashes[case_id] = pixel_hash(image)
        if image is None or mask is None:
            continue
        if image.shape[:2] != mask.shape:
            sizes = [f"{pixels.shape[1]} x {pixels.shape[0]}" for pixels in (image, mask)]
            problems.append(f"{case_id}: the image is {sizes[0]}, but its mask {sizes[1]}; expected the same size")
        rows.append({"case_id": case_id, **_measure(image, mask), "image_sha256": hashes[case_id]})
        images[case_id] = resize_image(image, **image_size.model_dump())
        native_masks.add(case_id, mask)
        if isinstance(raw_masks[case_id], Mapping):
            annotator_masks |= resize_masks({f"{case_id}/{name}": each for name, each in masks.items()}, image_size)
        perceptual_hashes[case_id] = hash_image(image)
        _keep_examples(examples, case_id, image)
    problems += _find_duplicates(hashes) + _find_constant_masks([row["lesion_area"] for row in rows])
    problems += [] if case_ids else ["there is no image and no mask"]
    cases = _join(pd.DataFrame(rows, columns=None if rows else ["case_id"]), annotations, data.name)
    return Cases(cases, images, native_masks, perceptual_hashes, dict(examples.values()), annotator_masks), problems


def resize_masks(native_masks: Mapping[str, np.ndarray], image_size: ImageSize) -> dict[str, np.ndarray]:
    """Resize masks by nearest neighbour to uint8 (height, width), 0 or 1, and log how many lesions disappear."""
    height, width, framing = image_size.height, image_size.width, image_size.framing
    resized, lost = {}, []
    for case_id, mask in native_masks.items():
        resized[case_id] = resize_mask(mask, height, width, framing)
        if mask.any() and not resized[case_id].any():
            lost.append(case_id)
    if lost:
        logger.warning("%s lost at %d x %d, such as in %s", pluralize(len(lost), "lesion"), width, height, lost[0])
    return resized


def _keep_examples(examples: dict[str, tuple[str, np.ndarray]], case_id: str, image: np.ndarray) -> None:
    """Keep the first, the smallest and the largest image so far. The earlier one of equal sizes is kept."""
    examples.setdefault("first", (case_id, image))
    for role, is_better in (("smallest", lt), ("largest", gt)):
        if role not in examples or is_better(image.size, examples[role][1].size):
            examples[role] = (case_id, image)


def _read_masks(case_id: str, raw_masks: RawMasks, problems: list[str]) -> dict[str, np.ndarray]:
    """Read the masks of a case by annotator, whose name is empty for a single mask. With a problem, return none."""
    given = raw_masks.get(case_id, {})
    readers = given if isinstance(given, Mapping) else {"": given}
    if not readers:
        problems.append(f"{case_id}: there is an image but no mask")
    masks: dict[str, np.ndarray] = {}
    for name, reader in readers.items():
        bad = f"the mask of {name} cannot be used" if name else "the mask cannot be used"
        mask = _read(case_id, {case_id: reader}, to_mask, "", bad, problems)
        masks |= {} if mask is None else {name: mask}
    if len({mask.shape for mask in masks.values()}) > 1:
        sizes = ", ".join(f"{name} {mask.shape[1]} x {mask.shape[0]}" for name, mask in masks.items())
        problems.append(f"{case_id}: its masks have different sizes ({sizes}); expected the size of the image")
        return {}
    return masks if len(masks) == len(readers) else {}


def _read(
    case_id: str, files: RawImages, convert: Callable[..., np.ndarray], absent: str, bad: str, problems: list[str]
) -> np.ndarray | None:
    """Read the image or the mask of a case. A problem is described by `absent` or, with its cause, by `bad`."""
    if case_id not in files:
        problems.append(f"{case_id}: there is {absent}")
        return None
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            return convert(files[case_id]())
    except Exception as error:  # Pillow raises many types for damaged files, and each file is reported
        problems.append(f"{case_id}: {bad} ({_cause(error)})")
        return None


def _read_annotations(given: str | pd.DataFrame, case_ids: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return the annotations, indexed by case_id, and the problems of the table and of the files compared with it."""
    name = ANNOTATIONS if isinstance(given, str) else "the table"
    try:
        table = parse_annotations(given) if isinstance(given, str) else given
    except InputError as error:  # the table's case ids are then unreliable and are not compared with the files
        return pd.DataFrame(index=pd.Index([], dtype=str)), [f"{name}: {problem}" for problem in error.problems]
    annotations = table.set_index("case_id")
    problems = [f"{case_id}: not found in {name}" for case_id in case_ids if case_id not in annotations.index]
    problems += [
        f"{case_id}: it is in {name}, but there is neither an image nor a mask"
        for case_id in annotations.index
        if case_id not in case_ids
    ]
    return annotations, problems


def _find_duplicates(hashes: dict[str, str]) -> list[str]:
    first: dict[str, str] = {}
    return [
        f"{case_id}: the image is identical to that of {known}; expected one case id per image"
        for case_id, digest in hashes.items()
        if (known := first.setdefault(digest, case_id)) != case_id
    ]


def _find_constant_masks(areas: list[object]) -> list[str]:
    """Report masks that are all empty or all full, since they are probably stored in another way than expected."""
    return [
        f"all masks are {kind}; check whether lesions are stored in another channel, or in {color} on {color}"
        for kind, color, area in (("empty", "black", 0.0), ("full", "white", 1.0))
        if len(areas) > 1 and set(areas) == {area}
    ]


def _cause(error: Exception) -> str:
    """Return the message of the innermost error, since Kedro's datasets wrap Pillow's errors."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, UnidentifiedImageError):
        return "empty or not an image"
    return first_line(error)


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
    if "source" not in cases:  # all cases have the same source
        cases["source"] = name
    if (named := cases["source"] == PH2).any():
        cases["source"] = cases["source"].where(~named | match_manifest(cases), f"not {PH2}")
    if "annotation_style" in cases:
        cases["annotation_style"] = cases["annotation_style"].where(cases["annotation_style"] != "", cases["source"])
    first = ["case_id", "source", *(column for column in annotations.columns if column != "source")]
    return cases[first + [column for column in cases.columns if column not in first]]
