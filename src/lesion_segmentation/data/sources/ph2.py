"""Import of PH2 from its known layouts into the layout of the project, checked against its manifest.

The manifest, ph2_manifest.csv, has the size and the hashes of every image and mask.
"""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.annotations import ANNOTATION_COLUMNS, ANNOTATIONS, format_annotations, parse_annotations
from lesion_segmentation.data.sources.archives import open_source, temporary_folder
from lesion_segmentation.images.read import open_image, pixel_hash, to_mask, to_rgb

_OFFICIAL_IMAGE, _OFFICIAL_MASK = re.compile(r"(IMD\d{3})\.bmp", re.I), re.compile(r"(IMD\d{3})_lesion\.bmp", re.I)
_KAGGLE_IMAGE, _KAGGLE_MASK = re.compile(r"X_img_(\d+)\.bmp", re.I), re.compile(r"Y_img_(\d+)\.bmp", re.I)
_REMEDY = "Nothing was written. Get an original copy of PH2 (docs/tutorials/ph2.md) and call make ph2 FROM=... again."

Files = dict[str, Path]
"""The files by case_id."""


def import_ph2(source: Path, target: Path, manifest: pd.DataFrame | None = None) -> str:
    """Check PH2 and write target/{images,masks}/<case_id>.bmp and target/PH2_dataset.txt.

    Args:
        source: A folder or .zip file in the official layout at any depth, in Kaggle's layout (trainx, trainy), or in
            the layout that this function writes.
        target: The folder to write. It is replaced as a whole after all checks, and must not contain other files than
            an earlier import wrote.
        manifest: The expected cases, by default the 200 of PH2.

    Returns:
        A report of what was written.

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
    with temporary_folder(target.parent) as work:
        folder = open_source(source, work / "unpacked")
        problems: list[str] = []
        images, masks = _find_files(folder, manifest, problems)
        annotations = _find_annotations(folder, list(manifest.index), problems)
        for case_id in sorted(manifest.index):
            problems += _check_pair(case_id, images, masks, manifest.loc[case_id])
        if problems:
            raise InputError.from_problems(f"{source} is not PH2 as its authors distribute it", problems, _REMEDY)
        finished = work / "ph2"
        _write(finished, images, masks, annotations)
        if target.exists():
            target.rename(work / "old")  # removed with the folder
        finished.rename(target)
    report = f"PH2: {len(manifest)} cases checked and written to {target}."
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


def _find_files(folder: Path, manifest: pd.DataFrame, problems: list[str]) -> tuple[Files, Files]:
    """Return the files of the images and of the masks."""
    flat = [path for path in folder.rglob("masks") if path.is_dir() and (path.parent / "images").is_dir()]
    if flat:  # the layout that an import writes
        images, masks = (_files(flat[0].parent / part, _OFFICIAL_IMAGE, problems) for part in ("images", "masks"))
    else:
        images, masks = _files(folder, _OFFICIAL_IMAGE, problems), _files(folder, _OFFICIAL_MASK, problems)
    if not images and not masks:
        images, masks = _find_kaggle(folder, manifest, problems)
    extra = sorted((set(images) | set(masks)) - set(manifest.index))
    problems += [f"{case_id}: it is not a case of PH2" for case_id in extra]
    return images, masks


def _files(folder: Path, pattern: re.Pattern[str], problems: list[str]) -> Files:
    """Return the files at any depth that match, by the name in the pattern. PH2's ROI images match no pattern."""
    found: Files = {}
    for path in sorted(folder.rglob("*.[bB][mM][pP]")):
        if match := pattern.fullmatch(path.name):
            name = match[1].upper()
            if name in found:
                both = f"{found[name].relative_to(folder)} and {path.relative_to(folder)}"
                problems.append(f"{name}: there are two files, {both}")
            found[name] = path
    return found


def _find_kaggle(folder: Path, manifest: pd.DataFrame, problems: list[str]) -> tuple[Files, Files]:
    """Identify Kaggle's numbered files by the pixels of the images."""
    numbered, numbered_masks = _files(folder, _KAGGLE_IMAGE, problems), _files(folder, _KAGGLE_MASK, problems)
    known = {str(row.small_image_sha256): str(row.Index) for row in manifest.itertuples()}
    images: Files = {}
    masks: Files = {}
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


def _identify(path: Path, known: dict[str, str], problems: list[str]) -> str | None:
    try:
        case_id = known.get(small_image_hash(open_image(path)))
    except (ValueError, MemoryError) as error:
        problems.append(f"{path.name}: {error}")
        return None
    if case_id is None:
        problems.append(f"{path.name}: it is not an image of PH2")
    return case_id


def _check_pair(case_id: str, images: Files, masks: Files, expected: pd.Series) -> list[str]:
    missing = [name for name, files in (("image", images), ("mask", masks)) if case_id not in files]
    if missing:
        return [f"{case_id}: the {name} is missing" for name in missing]
    opened = []
    for file in (images[case_id], masks[case_id]):
        try:
            opened.append(open_image(file))
        except (ValueError, MemoryError) as error:
            return [f"{file.name}: {error}"]
    found = describe_images(*opened)
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


def _write(work: Path, images: Files, masks: Files, annotations: str) -> None:
    for name, files in (("images", images), ("masks", masks)):
        (work / name).mkdir(parents=True)
        for case_id, file in files.items():
            shutil.copyfile(file, work / name / f"{case_id}.bmp")
    (work / ANNOTATIONS).write_text(annotations, encoding="utf-8")


def read_manifest() -> pd.DataFrame:
    """Return the 200 cases, indexed by case_id, with width, height and the hashes of `describe_images`."""
    return pd.read_csv(Path(__file__).with_name("ph2_manifest.csv"), index_col="case_id")


def describe_images(image: Image.Image, mask: Image.Image) -> dict[str, object]:
    """Return the row of the manifest for an image and its mask: size in pixels, and SHA-256 hashes of the pixels."""
    return {
        "width": image.width,
        "height": image.height,
        "image_sha256": pixel_hash(to_rgb(image)),
        "mask_sha256": pixel_hash(to_mask(mask)),
        "small_image_sha256": small_image_hash(image),
    }


def small_image_hash(image: Image.Image) -> str:
    """Return the hash of the pixels at 256 x 192 (Lanczos), which identifies a case whatever its file name is."""
    return pixel_hash(np.asarray(image.convert("RGB").resize((256, 192), Image.Resampling.LANCZOS)))


def match_manifest(cases: pd.DataFrame) -> np.ndarray:
    """Return for each case whether its case_id, image_sha256 and mask_sha256 are those of a case of PH2."""
    keys = ["image_sha256", "mask_sha256"]
    known = set(read_manifest()[keys].itertuples(name=None))
    return np.array([row in known for row in cases.set_index("case_id")[keys].itertuples(name=None)], dtype=bool)
