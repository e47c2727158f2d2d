"""Bring PH2 from whatever a user has into the one flat layout of the project, checked against a manifest."""

import re
import shutil
import struct
import warnings
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.annotations import ANNOTATION_COLUMNS, ANNOTATIONS, format_annotations, parse_annotations
from lesion_segmentation.data.sources.archives import opened, workspace
from lesion_segmentation.images.read import pixel_hash, to_mask, to_rgb

_OFFICIAL_IMAGE, _OFFICIAL_MASK = re.compile(r"(IMD\d{3})\.bmp", re.I), re.compile(r"(IMD\d{3})_lesion\.bmp", re.I)
_KAGGLE_IMAGE, _KAGGLE_MASK = re.compile(r"X_img_(\d+)\.bmp", re.I), re.compile(r"Y_img_(\d+)\.bmp", re.I)
UNREADABLE = (OSError, ValueError, SyntaxError, MemoryError, OverflowError, struct.error, Image.DecompressionBombError,
              Image.DecompressionBombWarning)  # fmt: skip
"""What Pillow raises for pictures that are none, damaged, or of billions of pixels."""
_REMEDY = 'Nothing was written. Get an unchanged copy of PH2 (README, "The data") and call make ph2 FROM=... again.'

ImageFiles = tuple[Path | None, Path | None]
"""The files of an image and of its mask."""


def read_manifest() -> pd.DataFrame:
    """The 200 cases by case_id: width, height, SHA-256 of the pixels of image, mask and image at 256 x 192."""
    with resources.files("lesion_segmentation.data.sources").joinpath("ph2_manifest.csv").open() as file:
        return pd.read_csv(file).set_index("case_id")


def describe_images(image: Image.Image, mask: Image.Image) -> dict[str, object]:
    return {
        "width": image.width,
        "height": image.height,
        "image_sha256": pixel_hash(to_rgb(image)),
        "mask_sha256": pixel_hash(to_mask(mask)),
        "small_image_sha256": small_image_hash(image),
    }


def small_image_hash(image: Image.Image) -> str:
    """Of the pixels at 256 x 192 (Lanczos): by it a case is known whatever its file is called."""
    return pixel_hash(np.asarray(image.convert("RGB").resize((256, 192), Image.Resampling.LANCZOS)))


def import_ph2(source: Path, target: Path, manifest: pd.DataFrame | None = None) -> str:
    """Check PH2 and write target/{images,masks}/<case_id>.bmp and target/PH2_dataset.txt.

    Args:
        source: A folder or a .zip with the official layout at any depth, with Kaggle's (trainx, trainy), or with that
            which this function writes.
        target: Replaced as a whole once everything was found right; never left half-written. What stands there must be
            of an earlier import.
        manifest: What is expected; by default PH2's own 200 cases.

    Returns:
        What was done, in a sentence.

    Raises:
        InputError: Names everything that is missing, extra or different, or what to do with the archive.
    """
    manifest = read_manifest() if manifest is None else manifest
    _check_target(source, target)
    try:
        return _import(source, target, manifest)
    except OSError as error:  # no permission, no space, no inodes, a file where a folder is needed
        raise InputError(f"PH2 cannot be brought from {source} to {target}: {error}. Nothing was changed.") from error


def _import(source: Path, target: Path, manifest: pd.DataFrame) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened(source, target.parent) as folder, workspace(target.parent) as work:
        problems: list[str] = []
        pairs = _find_pairs(folder, manifest, problems)
        annotations = _find_annotations(folder, list(manifest.index), problems)
        for case_id, (image, mask) in sorted(pairs.items()):
            problems += _check_pair(case_id, image, mask, manifest)
        if problems:
            raise InputError.from_problems(f"{source} is not PH2 as its authors distribute it", problems, _REMEDY)
        finished = work / "ph2"
        _write(finished, pairs, annotations)
        _replace(finished, target)
    note = (
        ""
        if _has_diagnoses(annotations)
        else " It has no annotations: diagnoses stay empty, so the protocols stratified and folds draw without strata."
    )
    return f"PH2: {len(pairs)} cases checked and written to {target}.{note}"


def _check_target(source: Path, target: Path) -> None:
    """Only what an earlier import wrote may be replaced, and never the source itself."""
    one, other = source.resolve(), target.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise InputError(f"{target} and {source} lie in one another. Choose another --target.")
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise InputError(f"{target} is no folder but a file or a link; it is left as it is. Choose another --target.")
    if not target.is_dir():
        return
    foreign = [path for path in target.iterdir() if path.name not in {"images", "masks", ANNOTATIONS, ".gitkeep"}]
    for part in (target / "images", target / "masks"):
        if part.is_dir():
            foreign += [path for path in part.iterdir() if path.suffix.lower() != ".bmp"]
        elif part.exists():
            foreign.append(part)
    if foreign:
        names = ", ".join(str(path.relative_to(target)) for path in sorted(foreign)[:3])
        raise InputError(
            f"{target} holds what no earlier import wrote ({names}); it is left as it is. Choose another --target, or "
            "move that away."
        )


def _find_pairs(folder: Path, manifest: pd.DataFrame, problems: list[str]) -> dict[str, ImageFiles]:
    flat = [path for path in folder.rglob("masks") if path.is_dir() and (path.parent / "images").is_dir()]
    if flat:  # what an import writes
        images, masks = (_files(flat[0].parent / part, _OFFICIAL_IMAGE, problems) for part in ("images", "masks"))
    else:
        images, masks = _files(folder, _OFFICIAL_IMAGE, problems), _files(folder, _OFFICIAL_MASK, problems)
    if not images and not masks:
        images, masks = _find_kaggle(folder, manifest, problems)
    extra = sorted((set(images) | set(masks)) - set(manifest.index))
    problems += [f"{case_id}: extra, not a case of PH2" for case_id in extra]
    return {case_id: (images.get(case_id), masks.get(case_id)) for case_id in manifest.index}


def _files(folder: Path, pattern: re.Pattern[str], problems: list[str]) -> dict[str, Path]:
    """Name in the pattern to file, at any depth; the roi images match no pattern."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.[bB][mM][pP]")):
        if match := pattern.fullmatch(path.name):
            name = match[1].upper()
            if name in found:
                problems.append(
                    f"{name}: there twice, {found[name].relative_to(folder)} and {path.relative_to(folder)}"
                )
            found[name] = path
    return found


def _find_kaggle(folder: Path, manifest: pd.DataFrame, problems: list[str]) -> tuple[dict[str, Path], dict[str, Path]]:
    """Kaggle's files bear numbers; a case is known by the pixels of its image."""
    numbered, numbered_masks = _files(folder, _KAGGLE_IMAGE, problems), _files(folder, _KAGGLE_MASK, problems)
    known = {str(row.small_image_sha256): str(row.Index) for row in manifest.itertuples()}
    images: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    for number in sorted(set(numbered) | set(numbered_masks), key=int):
        if number not in numbered:
            problems.append(f"Y_img_{number}.bmp: a mask without its image X_img_{number}.bmp")
            continue
        case_id = _identify(numbered[number], known, problems)
        if case_id is None:
            continue
        if case_id in images:
            problems.append(f"{case_id}: there twice, {images[case_id].name} and {numbered[number].name}")
        images[case_id] = numbered[number]
        if number in numbered_masks:
            masks[case_id] = numbered_masks[number]
    return images, masks


def _open(path: Path) -> Image.Image:
    """A picture; one of more pixels than Pillow thinks safe is an error, not just a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(path)


def _identify(path: Path, known: dict[str, str], problems: list[str]) -> str | None:
    try:
        with _open(path) as image:
            case_id = known.get(small_image_hash(image))
    except UNREADABLE as error:
        problems.append(f"{path.name}: cannot be read ({error})")
        return None
    if case_id is None:
        problems.append(f"{path.name}: its pixels are those of no case of PH2")
        return None
    return case_id


def _check_pair(case_id: str, image: Path | None, mask: Path | None, manifest: pd.DataFrame) -> list[str]:
    missing = [f"{case_id}: the {name} is missing" for name, path in (("image", image), ("mask", mask)) if path is None]
    if missing or image is None or mask is None:
        return missing
    try:
        with _open(image) as image_file, _open(mask) as mask_file:
            found = describe_images(image_file, mask_file)
    except UNREADABLE as error:
        return [f"{case_id}: cannot be read ({error})"]
    expected = manifest.loc[case_id]
    if (found["width"], found["height"]) != (expected["width"], expected["height"]):
        sizes = [f"{size['width']} x {size['height']} pixels" for size in (found, expected)]
        return [f"{case_id}: {sizes[0]} found, {sizes[1]} expected"]
    parts = (("image", "image_sha256"), ("mask", "mask_sha256"))
    return [f"{case_id}: the {name}'s pixels differ from PH2's" for name, key in parts if found[key] != expected[key]]


def _find_annotations(folder: Path, case_ids: list[str], problems: list[str]) -> str:
    """The annotation table of the copy, or one with empty cells where it has none."""
    found = sorted(path for path in folder.rglob("*") if path.name.lower() == ANNOTATIONS.lower())
    if not found:
        empty = pd.DataFrame({column: case_ids if column == "case_id" else "" for column in ANNOTATION_COLUMNS})
        return format_annotations(empty)
    text = found[0].read_text(encoding="utf-8", errors="replace")
    try:
        named = set(parse_annotations(text)["case_id"])
    except InputError as error:
        problems.append(str(error))
        return text
    problems += [f"{case_id}: not in {ANNOTATIONS}" for case_id in case_ids if case_id not in named]
    return text


def _has_diagnoses(annotations: str) -> bool:
    return bool((parse_annotations(annotations)["diagnosis"] != "").all())


def _write(work: Path, pairs: dict[str, ImageFiles], annotations: str) -> None:
    for name in ("images", "masks"):
        (work / name).mkdir(parents=True)
    for case_id, (image, mask) in pairs.items():
        assert image is not None
        assert mask is not None
        shutil.copyfile(image, work / "images" / f"{case_id}.bmp")
        shutil.copyfile(mask, work / "masks" / f"{case_id}.bmp")
    (work / ANNOTATIONS).write_text(annotations, encoding="utf-8")


def _replace(finished: Path, target: Path) -> None:
    """Put the finished folder in the target's place; what stood there is removed only afterwards."""
    with workspace(target.parent) as aside:
        if target.exists():
            target.rename(aside / "old")
        finished.rename(target)
