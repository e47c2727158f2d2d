"""The user's own data: images and masks in two folders, at any depth, and an optional table of annotations."""

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pandas as pd
from PIL import Image

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.cases import DataSettings, ImageSize, read_cases
from lesion_segmentation.data.groups import join_near_duplicates
from lesion_segmentation.data.leakage import LeakGuardSettings, list_near_duplicates
from lesion_segmentation.data.summary import describe_dataset
from lesion_segmentation.images.read import SUFFIXES

_MASK_SUFFIX = re.compile(r"_(mask|segmentation|lesion)$", re.IGNORECASE)
_REMEDY = "To list all problems of the data, use lesion-segmentation check-data <images> <masks> [<table>]."


def find_images(folder: Path, masks: bool = False) -> dict[str, Path]:
    """Return case_id to file. The case_id is the file name without its extension.

    With `masks`, a final _mask, _segmentation or _lesion is removed from the name, too.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder} is not a folder, expected a folder of {'masks' if masks else 'images'}. Name another one with "
            f"--params data.images=<folder>,data.masks=<folder>. {_REMEDY}"
        )
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    found: dict[str, Path] = {}
    problems = []
    for path in files:
        case_id = _MASK_SUFFIX.sub("", path.stem) if masks else path.stem
        if case_id in found:
            both = [str(each.relative_to(folder)) for each in (found[case_id], path)]
            problems.append(f"{case_id}: there are two files, {both[0]} and {both[1]}")
        found[case_id] = path
    if not files:
        problems.append(f"there is no image, expected files that end in {', '.join(SUFFIXES)}")
    if problems:
        raise InputError.from_problems(f"{folder} cannot be used", problems, _REMEDY)
    return found


def read_table(path: Path | None, case_ids: Iterable[str]) -> pd.DataFrame:
    """Read the table of annotations: case_id and, optionally, diagnosis, group, subset and others, all as strings.

    If the file or the columns are missing, diagnoses are empty and each case is a group of its own.
    """
    if path is None:
        table = pd.DataFrame({"case_id": list(case_ids)})
    else:
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is not a .csv file in UTF-8 ({error}). {_REMEDY}") from error
        if "case_id" not in table:
            raise InputError(f"{path} has no column case_id, but only {', '.join(table.columns)}. {_REMEDY}")
        repeated = table["case_id"][table["case_id"].duplicated()]
        if len(repeated):
            raise InputError.from_problems(f"{path}", [f"{name}: it is listed twice" for name in repeated], _REMEDY)
    for name, value in (("diagnosis", ""), ("group", table["case_id"])):
        if name not in table:
            table[name] = value
    return table.assign(group=table["group"].where(table["group"] != "", table["case_id"]))


def check_data(images: Path, masks: Path, table: Path | None) -> str:
    """Read and check a data set, and return a description of several lines."""
    files = find_images(images)
    raw_images, raw_masks = (
        {case_id: partial(open_image, path) for case_id, path in found.items()}
        for found in (files, find_images(masks, masks=True))
    )
    read = read_cases(raw_images, raw_masks, read_table(table, files), ImageSize(), DataSettings(name="checked"))
    near_duplicates = list_near_duplicates(read.cases, read.perceptual_hashes, LeakGuardSettings())
    summary = describe_dataset(read.cases, near_duplicates)
    facts = {
        "groups": join_near_duplicates(read.cases.set_index("case_id"), near_duplicates)["group"].nunique(),
        "diagnoses": ", ".join(f"{name} {count}" for name, count in summary["diagnoses"].items()),
        "sizes": ", ".join(f"{size} ({count})" for size, count in summary["sizes"].items()),
        "lesion area": f"{summary['lesion_area']['min']:.1%} to {summary['lesion_area']['max']:.1%} of the image",
        "touch the border": summary["touches_border"],
        "near-duplicates": f"{summary['near_duplicates']} pairs",
    }
    if nearest := summary["nearest_pair"]:
        bits = f"{nearest['differing_bits']} of {nearest['of_bits']} bits differ"
        facts["nearest pair"] = f"{' and '.join(nearest['cases'])}, {bits}"
    lines = [f"No problems found: {summary['cases']} cases, {facts.pop('groups')} groups."]
    return "\n".join([*lines, *(f"  {name:<18}{value}" for name, value in facts.items())])


def open_image(path: Path) -> Image.Image:
    """Read and decode an image."""
    with Image.open(path) as image:
        image.load()
        return image
