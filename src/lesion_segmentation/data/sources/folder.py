"""Pictures of one's own: images and masks in two folders at any depth, and a table of what is known of them."""

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pandas as pd
from PIL import Image

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.cases import DataSettings, ImageSize, read_cases
from lesion_segmentation.data.groups import join_near_duplicates
from lesion_segmentation.data.leakage import LeakGuardSettings
from lesion_segmentation.data.near_duplicates import list_near_duplicates
from lesion_segmentation.data.summary import describe_dataset

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_OF_MASKS = re.compile(r"_(mask|segmentation|lesion)$", re.IGNORECASE)
_REMEDY = "kedro check-data <images> <masks> [<table>] looks at all of it and changes nothing."


def find_images(folder: Path, masks: bool = False) -> dict[str, Path]:
    """case_id to file: the name without its ending, and for masks without _mask, _segmentation or _lesion.

    Raises:
        InputError: The folder is not there, it has no pictures, or two files have one name.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder} is no folder. Expected {'masks' if masks else 'images'} in it; another place is named with "
            f"--params data.images=<folder>,data.masks=<folder>. {_REMEDY}"
        )
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
    found: dict[str, Path] = {}
    problems = []
    for path in files:
        case_id = _OF_MASKS.sub("", path.stem) if masks else path.stem
        if case_id in found:
            both = [str(each.relative_to(folder)) for each in (found[case_id], path)]
            problems.append(f"{case_id}: there twice, {both[0]} and {both[1]}")
        found[case_id] = path
    if not files:
        problems.append(f"no picture found; expected {', '.join(ENDINGS)}")
    if problems:
        raise InputError.from_problems(f"{folder} cannot be used", problems, _REMEDY)
    return found


def read_table(path: Path | None, case_ids: Iterable[str]) -> pd.DataFrame:
    """What is known of the cases: case_id and, freely, diagnosis, group, subset and other annotations, all as texts.

    Without a file, or without these two columns, no diagnosis is known and each case is a group of its own.

    Raises:
        InputError: It is no .csv in UTF-8, it has no case_id, or a case stands there twice.
    """
    if path is None:
        table = pd.DataFrame({"case_id": list(case_ids)})
    else:
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is no .csv in UTF-8 ({error}). {_REMEDY}") from error
        if "case_id" not in table:
            raise InputError(f"{path} has no column case_id, only {', '.join(table.columns)}. {_REMEDY}")
        repeated = table["case_id"][table["case_id"].duplicated()]
        if len(repeated):
            raise InputError.from_problems(
                f"{path}", [f"{case_id}: stands there twice" for case_id in repeated], _REMEDY
            )
    for name, value in (("diagnosis", ""), ("group", table["case_id"])):
        if name not in table:
            table[name] = value
    return table.assign(group=table["group"].where(table["group"] != "", table["case_id"]))


def check_data(images: Path, masks: Path, table: Path | None) -> str:
    """Read all of a data set and describe it.

    Raises:
        InputError: Names everything that is wrong with it.
    """
    found, found_masks = find_images(images), find_images(masks, masks=True)
    pictures, drawn = (
        {case_id: partial(open_image, path) for case_id, path in files.items()} for files in (found, found_masks)
    )
    read = read_cases(pictures, drawn, read_table(table, found), ImageSize(), DataSettings(name="checked"))
    alike = list_near_duplicates(read.cases, read.perceptual_hashes, LeakGuardSettings())
    passport = describe_dataset(read.cases, alike)
    facts = {
        "groups": join_near_duplicates(read.cases.set_index("case_id"), alike)["group"].nunique(),
        "diagnoses": ", ".join(f"{name} {count}" for name, count in passport["diagnoses"].items()),
        "sizes": ", ".join(f"{size} ({count})" for size, count in passport["sizes"].items()),
        "lesion area": f"{passport['lesion_area']['min']:.1%} to {passport['lesion_area']['max']:.1%} of the picture",
        "touch the border": passport["touches_border"],
        "near-duplicates": f"{passport['near_duplicates']} pairs",
    }
    if nearest := passport["most_alike"]:
        facts["most alike"] = (
            f"{' and '.join(nearest['cases'])}, {nearest['differing_bits']} of {nearest['of_bits']} bits differ"
        )
    lines = [f"Nothing is wrong: {passport['cases']} cases, {facts.pop('groups')} groups."]
    return "\n".join([*lines, *(f"  {name:<18}{value}" for name, value in facts.items())])


def open_image(path: Path) -> Image.Image:
    """Read and decode."""
    with Image.open(path) as picture:
        picture.load()
        return picture
