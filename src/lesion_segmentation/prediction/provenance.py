"""What the masks of a folder depend on: it holds those of one network and one way of cutting."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.storage import Location, Place, place_of
from lesion_segmentation.prediction.input_images import ImageFile

PROVENANCE = "predictions.json"
FORMAT_VERSION = 1
PARTS, FAILED_PARTS = "predictions.parquet", "failures.parquet"
"""Folders of a table of part files. Defined here, not in `parts`, so that using them does not import pyarrow."""


def names_of(pictures: Sequence[ImageFile], kinds: Sequence[str]) -> Iterator[str]:
    """The files that these pictures will have."""
    return (f"{picture.stem}_{kind}.png" for picture in pictures for kind in kinds)


def require_free(target: object, taken: Iterable[str]) -> None:
    """Refuse a folder that has no record, and files of these names.

    Raises:
        InputError: Names them.
    """
    names = list(taken)
    if names:
        raise InputError.from_problems(
            f"{target} holds files that are no predictions and would be written over", names, "Name another folder."
        )


def read_record(target: Path) -> dict[str, Any]:
    """What a folder of this machine was begun with; empty where it is new, or damaged."""
    try:
        found = json.loads((target / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def are_parts(target: Location, scheduler: str | None = None) -> bool:
    """Return whether the table consists of part files: on an object store, with a scheduler, or if begun that way."""
    if isinstance(target, Place):
        return True
    begun = read_record(target)
    return begun.get("table") == PARTS if begun else scheduler is not None


def join_folder(target: Location, provenance: Mapping[str, Any]) -> None:
    """Take part in a folder that another process claimed.

    Raises:
        InputError: It is not there: what this machine sees under its name is something else; or it is of others.
    """
    record = place_of(target) / PROVENANCE
    with in_words(target):
        if not record.exists():
            raise InputError(
                f"{target} is not there on a worker. Workers have to see the folder that OUT is here, or OUT has to be "
                "a place such as s3://."
            )
        require_same(target, record.read(), provenance)


def require_same(target: object, record: bytes, provenance: Mapping[str, Any]) -> None:
    """Refuse a folder whose masks were made in another way than they would be now.

    Raises:
        InputError: Says what differs, or that the record is damaged.
    """
    remedy = "Name another folder, or remove this one."
    try:
        found = json.loads(record.decode("utf-8"))
    except ValueError as error:
        raise InputError(f"{target}/{PROVENANCE} is damaged ({error}). {remedy}") from error
    if not isinstance(found, dict):
        raise InputError(f"{target}/{PROVENANCE} is damaged: no mapping. {remedy}")
    differ = [
        f"{name}: {found.get(name)} there, {provenance.get(name)} now"
        for name in sorted({*found, *provenance})
        if found.get(name) != provenance.get(name)
    ]
    if differ:
        raise InputError.from_problems(
            f"{target} holds masks that were made in another way", differ, "Name another folder."
        )


@contextmanager
def in_words(target: object) -> Iterator[None]:
    """What the file system refuses, in a sentence.

    Raises:
        InputError: Instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{target} cannot be used: {error.strerror or error} ({error.filename or target})") from error
