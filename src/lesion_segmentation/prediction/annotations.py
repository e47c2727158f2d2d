"""Predicted outlines as pre-annotations for annotation tools: COCO, LabelMe and Label Studio."""

import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.storage import Location, to_storage_path
from lesion_segmentation.images.polygons import trace_polygons
from lesion_segmentation.prediction.input_images import ImageFile
from lesion_segmentation.prediction.settings import AnnotationFormat

COCO, LABEL_STUDIO, LABELME = "annotations_coco.json", "annotations_label_studio.json", "labelme"
"""Names in the target: two files with all images, and a folder with a file per image."""
LABEL = "lesion"
SHAPE: dict[str, Any] = {"label": LABEL, "shape_type": "polygon", "group_id": None, "description": "", "flags": {}}
VERSION = "5.6.1"
"""A version of LabelMe that reads the files."""
Masks = Iterable[tuple[ImageFile, np.ndarray]]
"""Images and their boolean masks (H, W)."""


def make_annotations(
    annotation_format: AnnotationFormat, images: Sequence[ImageFile], target: Location
) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of the annotation files for finished images, whose masks are read from the target.

    LabelMe files that exist are left out, since they may contain corrections. A missing mask raises an InputError.
    """
    if annotation_format == "coco":
        yield COCO, _encode(_to_coco(_read_masks(images, target)))
    elif annotation_format == "label-studio":
        yield LABEL_STUDIO, _encode([_to_task(image, mask) for image, mask in _read_masks(images, target)])
    else:
        existing = (to_storage_path(target) / LABELME).list()
        new = [image for image in images if f"{image.stem}.json" not in existing]
        for image, mask in _read_masks(new, target):
            name = f"{LABELME}/{image.stem}.json"
            yield name, _encode(_to_labelme(image, mask, target / name))


def _read_masks(images: Sequence[ImageFile], target: Location) -> Masks:
    files = {f"{image.stem}_mask.png": image for image in images}
    for name, content in to_storage_path(target).read_all(list(files)):
        with suppress(OSError, SyntaxError), Image.open(io.BytesIO(content)) as mask:
            yield files.pop(name), np.asarray(mask) > 0
    if files:
        raise InputError.from_problems(f"Masks in {target} are missing or damaged", [*files], "Use another folder.")


def _to_coco(masks: Masks) -> dict[str, Any]:
    """Return a data set with one object per image with a lesion. A mask with holes is run-length encoded."""
    from pycocotools import mask as coco

    images, objects = [], []
    for number, (image, mask) in enumerate(masks, 1):
        height, width = mask.shape
        images.append({"id": number, "file_name": image.name, "width": width, "height": height})
        polygons, has_holes = trace_polygons(mask)
        if polygons:
            encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
            runs = {"size": [height, width], "counts": encoded["counts"].decode("ascii")}
            outlines = runs if has_holes else [polygon.round(2).ravel().tolist() for polygon in polygons]
            identity = {"id": number, "image_id": number, "category_id": 1, "iscrowd": 0}
            measures = {"bbox": coco.toBbox(encoded).tolist(), "area": int(mask.sum())}
            objects.append({**identity, **measures, "segmentation": outlines})
    return {"images": images, "annotations": objects, "categories": [{"id": 1, "name": LABEL}]}


def _to_labelme(image: ImageFile, mask: np.ndarray, file: Location) -> dict[str, Any]:
    """Return the content of a LabelMe file. It names the image by the path from the file if both are local.

    Otherwise, the image is expected beside the file.
    """
    path = Path(image.name).name
    if isinstance(file, Path) and isinstance(image.path, Path):
        path = Path(os.path.relpath(os.path.realpath(image.path), os.path.realpath(file.parent))).as_posix()
    polygons, _ = trace_polygons(mask)
    shapes = [{**SHAPE, "points": polygon.round(2).tolist()} for polygon in polygons]
    size = {"imageHeight": mask.shape[0], "imageWidth": mask.shape[1]}
    return {"version": VERSION, "flags": {}, "shapes": shapes, "imagePath": path, "imageData": None, **size}


def _to_task(image: ImageFile, mask: np.ndarray) -> dict[str, Any]:
    """Return a task of Label Studio with polygons in percent. Local images are served from the input folder."""
    height, width = mask.shape
    common = {"type": "polygonlabels", "from_name": "label", "to_name": "image", "image_rotation": 0}
    results = [
        {
            **common, "id": f"{LABEL}-{number}", "original_width": width, "original_height": height,
            "value": {
                "points": (100 * polygon / (width, height)).round(4).tolist(), "closed": True, "polygonlabels": [LABEL],
            },
        }
        for number, polygon in enumerate(trace_polygons(mask)[0], 1)
    ]  # fmt: skip
    is_local = isinstance(image.path, Path)
    address = f"/data/local-files/?d={quote(os.fsencode(image.name))}" if is_local else str(image.path)
    return {"data": {"image": address}, "predictions": [{"model_version": "lesion-segmentation", "result": results}]}


def _encode(content: object) -> bytes:
    return json.dumps(content).encode("ascii")
