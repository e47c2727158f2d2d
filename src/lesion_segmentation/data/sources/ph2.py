"""Import of PH2 from its known layouts into the layout of the project, checked against the manifest."""

import re
import shutil
import struct
import warnings
from pathlib import Path

import pandas as pd
from PIL import Image

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.annotations import ANNOTATION_COLUMNS, ANNOTATIONS, format_annotations, parse_annotations
from lesion_segmentation.data.sources.archives import open_source, temporary_folder
from lesion_segmentation.data.sources.ph2_manifest import describe_images, read_manifest, small_image_hash

_OFFICIAL_IMAGE, _OFFICIAL_MASK = re.compile(r"(IMD\d{3})\.bmp", re.I), re.compile(r"(IMD\d{3})_lesion\.bmp", re.I)
_KAGGLE_IMAGE, _KAGGLE_MASK = re.compile(r"X_img_(\d+)\.bmp", re.I), re.compile(r"Y_img_(\d+)\.bmp", re.I)
_READ_ERRORS = (OSError, ValueError, SyntaxError, MemoryError, OverflowError, struct.error,
                Image.DecompressionBombError, Image.DecompressionBombWarning)  # fmt: skip
"""Errors of Pillow for files that are not images, are damaged, or have billions of pixels."""
_REMEDY = 'Nothing was written. Get an original copy of PH2 (README, "The data") and call make ph2 FROM=... again.'

FilePair = tuple[Path | None, Path | None]
"""The files of an image and of its mask, or None for a missing file."""


def import_ph2(source: Path, target: Path, manifest: pd.DataFrame | None = None) -> str:
    """Check PH2 and write target/{images,masks}/<case_id>.bmp and target/PH2_dataset.txt.

    Args:
        source: A folder or .zip file in the official layout at any depth, in Kaggle's layout (trainx, trainy), or in
            the layout that this function writes.
        target: The folder to write. It is replaced as a whole after all checks, and must not contain other files than
            an earlier import wrote.
        manifest: The expected cases, by default the 200 of PH2.

    Returns:
        A sentence that reports what was written.

    Raises:
        InputError: Lists everything that is missing, extra or different, or says what to do with the archive.
    """
    manifest = read_manifest() if manifest is None else manifest
    _check_target(source, target)
    try:
        return _import(source, target, manifest)
    except OSError as error:  # no permission, no space, no inodes, or a file instead of a folder
        raise InputError(
            f"PH2 cannot be imported from {source} to {target}: {error}. Nothing was changed. Fix this, then call "
            "make ph2 FROM=... again."
        ) from error


def _import(source: Path, target: Path, manifest: pd.DataFrame) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    with open_source(source, target.parent) as folder, temporary_folder(target.parent) as work:
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
    report = f"PH2: {len(pairs)} cases checked and written to {target}."
    if (parse_annotations(annotations)["diagnosis"] != "").all():
        return report
    return f"{report} The copy has no annotations, so the split protocols stratified and folds cannot stratify."


def _check_target(source: Path, target: Path) -> None:
    """Refuse a target that is not an earlier import, or that overlaps with the source."""
    one, other = source.resolve(), target.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise InputError(f"The target {target} and the source {source} overlap. Choose another --target.")
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise InputError(f"{target} is a file or a link, not a folder. Nothing was changed. Choose another --target.")
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
            f"{target} contains files that no import wrote ({names}). Nothing was changed. Choose another --target, or "
            "move these files away."
        )


def _find_pairs(folder: Path, manifest: pd.DataFrame, problems: list[str]) -> dict[str, FilePair]:
    flat = [path for path in folder.rglob("masks") if path.is_dir() and (path.parent / "images").is_dir()]
    if flat:  # the layout that an import writes
        images, masks = (_files(flat[0].parent / part, _OFFICIAL_IMAGE, problems) for part in ("images", "masks"))
    else:
        images, masks = _files(folder, _OFFICIAL_IMAGE, problems), _files(folder, _OFFICIAL_MASK, problems)
    if not images and not masks:
        images, masks = _find_kaggle(folder, manifest, problems)
    extra = sorted((set(images) | set(masks)) - set(manifest.index))
    problems += [f"{case_id}: it is not a case of PH2" for case_id in extra]
    return {case_id: (images.get(case_id), masks.get(case_id)) for case_id in manifest.index}


def _files(folder: Path, pattern: re.Pattern[str], problems: list[str]) -> dict[str, Path]:
    """Return the files at any depth that match, by the name in the pattern. PH2's ROI images match no pattern."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.[bB][mM][pP]")):
        if match := pattern.fullmatch(path.name):
            name = match[1].upper()
            if name in found:
                both = f"{found[name].relative_to(folder)} and {path.relative_to(folder)}"
                problems.append(f"{name}: there are two files, {both}")
            found[name] = path
    return found


def _find_kaggle(folder: Path, manifest: pd.DataFrame, problems: list[str]) -> tuple[dict[str, Path], dict[str, Path]]:
    """Identify Kaggle's numbered files by the pixels of the images."""
    numbered, numbered_masks = _files(folder, _KAGGLE_IMAGE, problems), _files(folder, _KAGGLE_MASK, problems)
    known = {str(row.small_image_sha256): str(row.Index) for row in manifest.itertuples()}
    images: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    for number in sorted(set(numbered) | set(numbered_masks), key=int):
        if number not in numbered:
            problems.append(f"Y_img_{number}.bmp: the image X_img_{number}.bmp of this mask is missing")
            continue
        case_id = _identify(numbered[number], known, problems)
        if case_id is None:
            continue
        if case_id in images:
            problems.append(f"{case_id}: there are two files, {images[case_id].name} and {numbered[number].name}")
        images[case_id] = numbered[number]
        if number in numbered_masks:
            masks[case_id] = numbered_masks[number]
    return images, masks


def _open(path: Path) -> Image.Image:
    """Open an image. More pixels than Pillow considers safe are an error, not only a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(path)


def _identify(path: Path, known: dict[str, str], problems: list[str]) -> str | None:
    try:
        with _open(path) as image:
            case_id = known.get(small_image_hash(image))
    except _READ_ERRORS as error:
        problems.append(f"{path.name}: it cannot be read ({error})")
        return None
    if case_id is None:
        problems.append(f"{path.name}: it is not an image of PH2")
        return None
    return case_id


def _check_pair(case_id: str, image: Path | None, mask: Path | None, manifest: pd.DataFrame) -> list[str]:
    missing = [f"{case_id}: the {name} is missing" for name, path in (("image", image), ("mask", mask)) if path is None]
    if missing or image is None or mask is None:
        return missing
    try:
        with _open(image) as image_file, _open(mask) as mask_file:
            found = describe_images(image_file, mask_file)
    except _READ_ERRORS as error:
        return [f"{case_id}: it cannot be read ({error})"]
    expected = manifest.loc[case_id]
    if (found["width"], found["height"]) != (expected["width"], expected["height"]):
        sizes = [f"{size['width']} x {size['height']} pixels" for size in (found, expected)]
        return [f"{case_id}: it has {sizes[0]}, expected {sizes[1]}"]
    keys = (("image", "image_sha256"), ("mask", "mask_sha256"))
    return [
        f"{case_id}: the pixels of the {name} differ from PH2's" for name, key in keys if found[key] != expected[key]
    ]


def _find_annotations(folder: Path, case_ids: list[str], problems: list[str]) -> str:
    """Return the text of the copy's annotation table, or of one with empty cells if there is none."""
    found = sorted(path for path in folder.rglob("*") if path.name.lower() == ANNOTATIONS.lower())
    if not found:
        empty = pd.DataFrame({column: case_ids if column == "case_id" else "" for column in ANNOTATION_COLUMNS})
        return format_annotations(empty)
    text = found[0].read_text(encoding="utf-8", errors="replace")
    try:
        listed = set(parse_annotations(text)["case_id"])
    except InputError as error:
        problems.append(str(error))
        return text
    problems += [f"{case_id}: it is not in {ANNOTATIONS}" for case_id in case_ids if case_id not in listed]
    return text


def _write(work: Path, pairs: dict[str, FilePair], annotations: str) -> None:
    for name in ("images", "masks"):
        (work / name).mkdir(parents=True)
    for case_id, (image, mask) in pairs.items():
        assert image is not None
        assert mask is not None
        shutil.copyfile(image, work / "images" / f"{case_id}.bmp")
        shutil.copyfile(mask, work / "masks" / f"{case_id}.bmp")
    (work / ANNOTATIONS).write_text(annotations, encoding="utf-8")


def _replace(finished: Path, target: Path) -> None:
    """Move the finished folder to the target. The old target is moved away first and removed at the end."""
    with temporary_folder(target.parent) as aside:
        if target.exists():
            target.rename(aside / "old")
        finished.rename(target)
