"""Masks as annotation tools write them: a LabelMe file per image, or a COCO file for all images."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Discriminator, Field, NonNegativeInt, PositiveInt, Tag, ValidationError

from lesion_segmentation.core.errors import first_line
from lesion_segmentation.core.parameter_model import describe_errors
from lesion_segmentation.core.user_tables import normalize_name
from lesion_segmentation.data.annotators import RawMasks, Reader
from lesion_segmentation.images.polygons import fill_polygons
from lesion_segmentation.images.read import MAX_PIXELS, open_image

MAX_OUTSIDE = 1.0
"""Greatest distance of a point from the image, in pixels. Some tools place points just beyond the border."""

FileT = TypeVar("FileT", bound="_File")


class _File(BaseModel):
    """A part of a file. Keys other than the fields are ignored."""

    model_config = ConfigDict(allow_inf_nan=False)


class _Shape(_File):
    label: Literal["lesion"]
    shape_type: Literal["polygon"] = "polygon"
    points: list[tuple[float, float]] = Field(min_length=3)


class _LabelMeFile(_File):
    width: PositiveInt = Field(alias="imageWidth")
    height: PositiveInt = Field(alias="imageHeight")
    shapes: list[_Shape]


class _Runs(_File):
    """Run-length encoding, whose counts are a list, or a compressed string."""

    size: tuple[PositiveInt, PositiveInt]
    counts: str | list[NonNegativeInt]


_Polygons = Annotated[list[Annotated[list[float], Field(min_length=6)]], Field(min_length=1)]
_Segmentation = Annotated[
    Annotated[_Runs, Tag("rle")] | Annotated[_Polygons, Tag("polygons")],
    Discriminator(lambda value: "rle" if isinstance(value, (dict, _Runs)) else "polygons"),
]


class _CocoImage(_File):
    id: int
    file_name: str
    width: PositiveInt
    height: PositiveInt


class _CocoObject(_File):
    image_id: int
    annotator: str | None = Field(None, min_length=1)
    segmentation: _Segmentation


class _CocoCategory(_File):
    name: Literal["lesion"]


class _CocoFile(_File):
    images: list[_CocoImage]
    annotations: list[_CocoObject]
    categories: list[_CocoCategory]


def is_labelme_file(path: Path) -> bool:
    """Return whether a file seems to be one of LabelMe, even if it is damaged."""
    try:
        return path.suffix.lower() == ".json" and path.is_file() and b'"shapes"' in path.read_bytes()
    except OSError:
        return False


def open_mask(path: Path) -> Image.Image:
    """Open a mask: an image, or a LabelMe file, whose polygons are filled.

    Raises:
        ValueError: The file cannot be used. The message completes a sentence that names the file.
    """
    if path.suffix.lower() != ".json":
        return open_image(path)
    file, problems = _parse(_LabelMeFile, path)
    if file is None:
        raise ValueError("; ".join(problems))
    polygons = [[value for point in shape.points for value in point] for shape in file.shapes]
    return _fill([polygons], file.height, file.width)


def read_coco(path: Path) -> tuple[dict[str, Path], RawMasks, list[str]]:
    """Read a COCO file with polygons or run-length encodings, and whose only category is lesion.

    The key `annotator` of an annotation, which COCO does not have, names who outlined the object.

    Returns:
        case_id to the image's file name, case_id to a function that fills the mask, which is empty for an image without
        objects and raises a ValueError if an object cannot be used, or a mapping from annotator to such a function;
        and what is wrong with the file.
    """
    file, problems = _parse(_CocoFile, path)
    if file is None:
        return {}, {}, [f"{path}: {problem}" for problem in problems]
    ids = Counter(image.id for image in file.images)
    problems = [f"{path}: {count} images have the id {number}" for number, count in ids.items() if count > 1]
    objects: defaultdict[int, dict[str | None, list[_Runs | list[list[float]]]]] = defaultdict(dict)
    for each in file.annotations:
        objects[each.image_id].setdefault(each.annotator, []).append(each.segmentation)
    unnamed = sum(each.annotator is None for each in file.annotations)
    if 0 < unnamed < len(file.annotations):
        problems.append(f"{path}: {unnamed} of {len(file.annotations)} annotations name no annotator, expected all")
    problems += [f"{path}: an annotation has the image_id {each}, which no image has" for each in objects.keys() - ids]
    files: dict[str, Path] = {}
    masks: dict[str, Reader | Mapping[str, Reader]] = {}
    for image in file.images:
        case_id = normalize_name(Path(image.file_name).stem)
        problems += [f"{case_id}: there are two images in {path}"] if case_id in files else []
        files[case_id] = Path(image.file_name)
        found = objects[image.id]
        fill = {name: partial(_fill, found[name], image.height, image.width) for name in sorted(filter(None, found))}
        masks[case_id] = fill or partial(_fill, found.get(None, []), image.height, image.width)
    return files, masks, problems


def _parse(model: type[FileT], path: Path) -> tuple[FileT | None, list[str]]:
    """Read a JSON file. Return None for a file that cannot be used, and what is wrong with it."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        return None, [f"it cannot be read as JSON ({first_line(error)})"]
    if not isinstance(content, dict):
        return None, [f"it contains a JSON {type(content).__name__}, expected an object"]
    try:
        return model.model_validate(content), []
    except ValidationError as error:
        return None, describe_errors(error)


def _fill(objects: Sequence[_Runs | list[list[float]]], height: int, width: int) -> Image.Image:
    """Return the union of objects as an image of 0 and 255."""
    if height * width > MAX_PIXELS:
        raise ValueError(f"it has {width} x {height} pixels, expected at most {MAX_PIXELS:,}")
    mask = np.zeros((height, width), dtype=bool)
    for each in objects:
        mask |= _decode(each, height, width) if isinstance(each, _Runs) else _draw(each, height, width)
    return Image.fromarray(mask)


def _draw(polygons: Sequence[Sequence[float]], height: int, width: int) -> np.ndarray:
    for values in polygons:
        if len(values) % 2:
            raise ValueError(f"a polygon has {len(values)} coordinates, expected an even number")
        for x, y in zip(values[::2], values[1::2], strict=True):
            if not (-MAX_OUTSIDE <= x <= width + MAX_OUTSIDE and -MAX_OUTSIDE <= y <= height + MAX_OUTSIDE):
                raise ValueError(f"the point ({x:g}, {y:g}) lies outside the image of {width} x {height}")
    return fill_polygons(polygons, height, width)


def _decode(runs: _Runs, height: int, width: int) -> np.ndarray:
    """Return the mask of run lengths. They are checked, since pycocotools leaves pixels beyond their end undefined."""
    if runs.size != (height, width):
        raise ValueError(f"an encoding has the size {list(runs.size)}, expected {[height, width]}, height and width")
    counts = _decompress(runs.counts) if isinstance(runs.counts, str) else runs.counts
    if min(counts, default=0) < 0 or sum(counts) != height * width:
        raise ValueError(f"an encoding has runs of {sum(counts)} pixels together, expected {height * width}")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T


def _decompress(text: str) -> list[int]:
    """Return the run lengths in a compressed string: numbers of 5 bits per character, as rleFrString of COCO's API."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"an encoding contains the character {character!r}, which no compressed string has")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:  # the last character of a number, whose highest bit is the sign
            value -= (bits & 16) << (shift - 4)
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("an encoding ends within a number")
    return counts
