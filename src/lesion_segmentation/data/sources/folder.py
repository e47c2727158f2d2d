"""The user's own data: images and masks in two folders, at any depth, and an optional table of annotations.

Masks may also be LabelMe files in a folder, or one COCO file. If several subfolders contain masks of the same case,
each subfolder is one annotator.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import pandas as pd

from lesion_segmentation.core.errors import InputError, pluralize
from lesion_segmentation.core.extras import require
from lesion_segmentation.core.user_tables import normalize_name, read_user_table
from lesion_segmentation.data.annotators import RawMasks, Reader
from lesion_segmentation.data.cases import DataSettings, ImageSize, collect_cases
from lesion_segmentation.data.groups import join_near_duplicates
from lesion_segmentation.data.leakage import LeakGuardSettings, find_near_duplicate_leaks, list_near_duplicates
from lesion_segmentation.data.sources.annotation_files import is_labelme_file, open_mask, read_coco
from lesion_segmentation.data.splits import SplitSettings, find_subset_problems, split_cases
from lesion_segmentation.data.summary import describe_dataset
from lesion_segmentation.images.listing import list_image_files
from lesion_segmentation.images.read import SUFFIXES, open_image

logger = logging.getLogger(__name__)

_MASK_SUFFIX = re.compile(r"_(mask|segmentation|lesion)$", re.IGNORECASE)
_LAST_WORD = re.compile(r"[_-][A-Za-z]+\.\w+$")
_KNOWN = ("case_id", "diagnosis", "group", "subset", "annotation_style")
_REMEDY = "To list all problems of the data, use lesion-segmentation check-data <images> <masks> [<table>]."
BINARIZE = """These lines of Python write black and white copies of masks with more grey values, such as JPEG:
    from pathlib import Path; from PIL import Image, ImageOps; Path("binary_masks").mkdir()
    for path in Path({folder!r}).rglob("*.*"):
        ImageOps.autocontrast(Image.open(path).convert("L")).point(lambda grey: 255 * (grey > 127)).save(
            f"binary_masks/{{path.stem}}.png")"""


def find_images(folder: Path, masks: bool = False, ignore: str = "") -> dict[str, Path]:
    """Return case_id to file. The case_id is the normalized file name without its extension.

    With `masks`, a final _mask, _segmentation or _lesion is removed from the name, too, and LabelMe files are found
    instead of the images beside them that have the same name. Files whose name matches one of the patterns in `ignore`,
    separated by blanks, are skipped. A folder without images, or with two files for one case_id, raises an InputError.
    """
    found, problems = _list_images(folder, masks, ignore)
    if problems:
        raise InputError.from_problems(f"The {'masks' if masks else 'images'} cannot be used", problems, _REMEDY)
    return found


def find_masks(source: Path, ignore: str = "") -> RawMasks:
    """Return case_id to a function that reads the mask, from a folder as `find_images` searches it, or a COCO file.

    If a case_id has masks in several subfolders, each subfolder is an annotator, and case_id is mapped to a function
    per annotator. A source without masks, with two masks of one annotator for one case_id, or with a damaged COCO file
    raises an InputError.
    """
    _, masks, problems = _list_masks(source, ignore)
    if problems:
        raise InputError.from_problems("The masks cannot be used", problems, _REMEDY)
    return masks


def read_table(path: Path | None, case_ids: Iterable[str]) -> pd.DataFrame:
    """Read the table of annotations: case_id and, optionally, diagnosis, group, subset, annotation_style and others.

    All columns are strings. If the file or the columns are missing, diagnoses are empty and each case is a group of its
    own.
    """
    table, problems = _read_annotations(path, case_ids)
    if problems:
        raise InputError.from_problems(f"{path} cannot be used", problems, _REMEDY)
    return table


def check_data(images: Path, masks: Path, table: Path | None, ignore: str = "") -> str:
    """Read and check a data set, and return a description of several lines. An InputError lists all problems."""
    files, problems = _list_images(images, False, ignore)
    mask_files, raw_masks, mask_problems = _list_masks(masks, ignore)
    annotations, table_problems = _read_annotations(table, files | mask_files)
    problems += mask_problems + [f"{table}: {problem}" for problem in table_problems]
    raw = {name: partial(open_image, path) for name, path in files.items()}
    read, case_problems = collect_cases(raw, raw_masks, annotations, ImageSize(), DataSettings(name="checked"))
    near_duplicates = list_near_duplicates(read.cases, read.perceptual_hashes, LeakGuardSettings())
    problems += case_problems if files and mask_files else []
    if "subset" in annotations:
        subsets = annotations[["case_id", "subset"]]
        problems += [f"{table}: {problem}" for problem in find_subset_problems(annotations.set_index("case_id"))]
        problems += [leak.description for leak in find_near_duplicate_leaks(subsets, subsets, near_duplicates)]
    if problems:
        advice = _advise(problems, files, mask_files, masks)
        raise InputError.from_problems("The data set cannot be used", problems, advice)
    return _describe(read.cases, near_duplicates, read.annotator_masks)


def _describe(cases: pd.DataFrame, near_duplicates: pd.DataFrame, annotator_masks: Iterable[str]) -> str:
    summary = describe_dataset(cases, near_duplicates, annotator_masks)
    protocol = "given" if "subset" in cases else "stratified"
    try:
        counts = split_cases(cases, SplitSettings(protocol=protocol), near_duplicates)["subset"].value_counts()
        subsets = ", ".join(f"{name} {count}" for name, count in counts.items())
    except InputError as error:
        subsets = f"this split will fail: {error}"
    except ImportError:
        subsets = "not tried, since scikit-learn is not installed"
    facts = {
        "diagnoses": ", ".join(f"{name} {count}" for name, count in summary["diagnoses"].items()),
        "sizes": ", ".join(f"{size} ({count})" for size, count in summary["sizes"].items()),
        "lesion area": f"{summary['lesion_area']['min']:.1%} to {summary['lesion_area']['max']:.1%} of the image",
        "touch the border": summary["touches_border"],
        "near-duplicates": pluralize(summary["near_duplicates"], "pair"),
    }
    if annotators := summary.get("annotators"):
        facts["annotators"] = ", ".join(f"{name} {pluralize(count, 'mask')}" for name, count in annotators.items())
    if nearest := summary["nearest_pair"]:
        bits = f"{nearest['differing_bits']} of {nearest['of_bits']} bits differ"
        facts["nearest pair"] = f"{' and '.join(nearest['cases'])}, {bits}"
    facts[f"split.protocol={protocol}"] = subsets
    groups = join_near_duplicates(cases.set_index("case_id"), near_duplicates)["group"].nunique()
    lines = [f"No problems found: {pluralize(summary['cases'], 'case')}, {pluralize(groups, 'group')}."]
    return "\n".join([*lines, *(f"  {name:<27}{value}" for name, value in facts.items())])


def _list_masks(source: Path, ignore: str) -> tuple[dict[str, Path], RawMasks, list[str]]:
    """Return a file and the reader or readers of each case by case_id, and what is wrong with the source."""
    if source.is_file():
        require("pycocotools.mask")  # it fills polygons
        return read_coco(source)
    found, problems = _list_files(source, True, ignore)
    paths = [path for each in found.values() for path in each if path.parent != source]
    subfolders = {path: path.relative_to(source).parts[0] for path in paths}
    if any(len({subfolders[path] for path in each if path in subfolders}) > 1 for each in found.values()):
        readers, repeated = _read_by_annotator(source, found, subfolders)
        return {case_id: each[0] for case_id, each in found.items()}, readers, problems + repeated
    files, repeated = _require_single(source, found, "masks")
    return files, {case_id: partial(open_mask, path) for case_id, path in files.items()}, problems + repeated


def _read_by_annotator(
    source: Path, found: Mapping[str, list[Path]], subfolders: Mapping[Path, str]
) -> tuple[RawMasks, list[str]]:
    """Return the readers of each case by annotator, which is the subfolder, and what is wrong with the folders."""
    readers: dict[str, dict[str, Reader]] = {}
    problems = [
        f"{case_id}: {path.name!a} is outside the subfolders of the annotators, expected it in one of them"
        for case_id, paths in found.items()
        for path in paths
        if path not in subfolders
    ]
    for name in sorted(set(subfolders.values())):
        own = {case_id: [path for path in paths if subfolders.get(path) == name] for case_id, paths in found.items()}
        files, repeated = _require_single(source, own, "masks")
        problems += repeated
        for case_id, path in files.items():
            readers.setdefault(case_id, {})[name] = partial(open_mask, path)
    several = sum(len(each) > 1 for each in readers.values())
    names = ", ".join(sorted(set(subfolders.values())))
    logger.info("%s with masks by several annotators: %s", pluralize(several, "case"), names)
    return readers, problems


def _is_ignored(path: Path, ignore: str) -> bool:
    return any(fnmatch(path.name, pattern) for pattern in ignore.split())


def _list_images(folder: Path, masks: bool, ignore: str) -> tuple[dict[str, Path], list[str]]:
    """Return the file of each case_id, and what is wrong with the folder."""
    found, problems = _list_files(folder, masks, ignore)
    files, repeated = _require_single(folder, found, "masks" if masks else "images")
    return files, problems + repeated


def _require_single(folder: Path, found: Mapping[str, list[Path]], kind: str) -> tuple[dict[str, Path], list[str]]:
    """Return the first file of each case_id that has any, and a problem for each further one."""
    problems = []
    for case_id, (first, *others) in ((case_id, paths) for case_id, paths in found.items() if paths):
        for path in others:
            both = " and ".join(ascii(str(each.relative_to(folder))) for each in (first, path))  # shows Unicode's form
            problems.append(f"{case_id}: there are two {kind}, {both}")
    return {case_id: paths[0] for case_id, paths in found.items() if paths}, problems


def _list_files(folder: Path, masks: bool, ignore: str) -> tuple[dict[str, list[Path]], list[str]]:
    """Return all files of each case_id, and what is wrong with the folder."""
    kind = "masks" if masks else "images"
    if not folder.is_dir():
        return {}, [f"{folder} is not a folder, expected a folder of {kind}{' or a COCO file' if masks else ''}"]
    found: dict[str, list[Path]] = {}
    problems = []
    files, left_out = list_image_files(folder)
    used = [name for name in left_out if not _is_ignored(Path(name), ignore)]
    if masks and (outlines := [name for name in used if is_labelme_file(folder / name)]):
        require("pycocotools.mask")  # it fills polygons
        images = {(folder / name).with_suffix("") for name in outlines}
        files = [path for path in files if path.with_suffix("") not in images] + [folder / name for name in outlines]
        left_out = {name: reason for name, reason in left_out.items() if name not in outlines}
    if left_out:
        shown = "; ".join(f"{name}: {reason}" for name, reason in [*left_out.items()][:5])
        logger.warning("%s of %s left out, such as %s", pluralize(len(left_out), "file"), folder, shown)
    for path in files:
        if _is_ignored(path, ignore):
            continue
        case_id = normalize_name(_MASK_SUFFIX.sub("", path.stem) if masks else path.stem)
        if not case_id.isascii() and case_id.encode(errors="replace").decode() != case_id:
            problems.append(f"{path.name!a}: the name is not valid UTF-8, rename the file")
            continue
        found.setdefault(case_id, []).append(path)
    if not found:
        problems.append(f"{folder} contains no image, expected files that end in {', '.join(SUFFIXES)}")
    return found, problems


def _read_annotations(path: Path | None, case_ids: Iterable[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return the table of annotations and what is wrong with it. An unusable file is treated like a missing one."""
    default, problems = pd.DataFrame({"case_id": list(case_ids)}, dtype=str), []
    try:
        table = default if path is None else read_user_table(path, _KNOWN)
    except InputError as error:
        table, problems = default, list(error.problems)
    if "case_id" not in table:
        table, problems = default, [f"it has no column case_id, but only {', '.join(table.columns)}"]
    repeated = table["case_id"].duplicated()
    problems += [f"{case_id or 'no case_id'}: it is listed twice" for case_id in table["case_id"][repeated]]
    table = table[~repeated].assign(**{name: "" for name in ("diagnosis", "group") if name not in table})
    return table.assign(group=table["group"].where(table["group"] != "", table["case_id"])), problems


def _advise(problems: Iterable[str], files: Mapping[str, Path], mask_files: Mapping[str, Path], masks: Path) -> str:
    """Return remedies that fit the problems."""
    advice = ["Nothing was written. Correct these files and run check-data again."]
    both = [*files.items(), *mask_files.items()]
    unpaired = (_LAST_WORD.search(path.name) for name, path in both if (name in files) != (name in mask_files))
    for ending, count in Counter(found[0] for found in unpaired if found).items():
        if count > 2:
            option = f"--ignore '*{ending}' (in kedro run: --params data.ignore='*{ending}')"
            advice.append(f"{count} files without a mask or an image end in {ending}. To leave them out, use {option}.")
    if any("grey values" in problem for problem in problems):
        advice.append(BINARIZE.format(folder=str(masks)))
    return "\n".join(advice)
