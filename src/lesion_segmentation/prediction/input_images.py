"""Which pictures are asked for."""

import io
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.storage import Location, Place, fingerprint
from lesion_segmentation.data.sources.folder import ENDINGS
from lesion_segmentation.images.read import read_rgb

MAX_PIXELS = 100_000_000
"""A picture of more is refused: it would take gigabytes."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A picture to be predicted.

    Attributes:
        path: Where it is.
        name: Its place below the folder that was asked for, with /; of a single picture its file name.
        fingerprint: Bytes and what is known of the change: of another file under the same name they differ.
    """

    path: Location
    name: str
    fingerprint: tuple[int, ...] = field(default=(), compare=False)

    @classmethod
    def at(cls, path: Path, name: str) -> "ImageFile":
        found = path.stat()
        return cls(path, name, (found.st_size, found.st_mtime_ns))

    @property
    def stem(self) -> str:
        """The name without its ending: what its outputs are called by."""
        return self.name.removesuffix(Path(self.name).suffix)


def list_input_images(source: Location) -> list[ImageFile]:
    """A picture, or all pictures of a folder at any depth, by name.

    Raises:
        InputError: There is nothing, two pictures would have one mask, or the place cannot be reached.
    """
    pictures = _list_place(source) if isinstance(source, Place) else _list_folder(source)
    if not pictures:
        raise InputError(f"{source}: no picture found; expected {', '.join(ENDINGS)}")
    alike = defaultdict(list)
    for picture in pictures:
        alike[picture.stem].append(picture.name)
    problems = [" and ".join(names) for names in alike.values() if len(names) > 1]
    if problems:
        raise InputError.from_problems(
            "Some pictures differ in their ending alone, and their masks would have one name",
            problems,
            "Rename one of each, or put them into different folders.",
        )
    return pictures


def _list_folder(source: Path) -> list[ImageFile]:
    source = source.absolute()  # workers may stand elsewhere
    if source.is_file():
        return [ImageFile.at(source, source.name)]
    if not source.is_dir():
        raise InputError(f"{source} is not there. Expected a picture or a folder with pictures.")
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
    return [ImageFile.at(path, path.relative_to(source).as_posix()) for path in files]


def _list_place(source: Place) -> list[ImageFile]:
    """In one listing, which object stores give by thousands; asking for each file would be a request for each."""
    found = source.list()
    if not found:
        raise InputError(f"{source} is not there, or empty. Expected a picture or a folder with pictures.")
    if set(found) == {""}:
        return [ImageFile(source, source.name, fingerprint(found[""]))]
    pictures = {name: known for name, known in sorted(found.items()) if PurePosixPath(name).suffix.lower() in ENDINGS}
    if problems := [name for name in pictures if {"", ".", ".."} & set(name.split("/"))]:
        raise InputError.from_problems(f"{source}: these names are no paths of files", problems, "Give them others.")
    return [ImageFile(source / name, name, fingerprint(known)) for name, known in pictures.items()]


class SelectedImages(NamedTuple):
    """The pictures of one call, and all that there are."""

    files: list[ImageFile]
    listed: list[ImageFile]


def select_images(source: Location, part: str | None = None) -> SelectedImages:
    """A picture, or those of a folder, of which a part is chosen.

    Raises:
        InputError: As list_input_images and take_shard.
    """
    listed = list_input_images(source)
    return SelectedImages(take_shard(listed, part), listed)


def take_shard(pictures: Sequence[ImageFile], part: str | None) -> list[ImageFile]:
    """Every n-th picture for `k/n`, k from 1 to n; all of them for None.

    Raises:
        InputError: It is not of this form.
    """
    if part is None:
        return list(pictures)
    found = re.fullmatch(r"(\d+)/(\d+)", part)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"--part is {part!r}, expected k/n with k from 1 to n, such as 2/8")
    return list(pictures[int(found[1]) - 1 :: int(found[2])])


def read_input_image(path: Location) -> np.ndarray:
    """As it is looked at, uint8 (H, W, 3).

    Raises:
        ValueError: It is no picture, damaged, of a kind that is not read, or too large; in words.
        InputError: Its place cannot be reached.
    """
    return read_rgb(io.BytesIO(path.read()) if isinstance(path, Place) else path, MAX_PIXELS)


def require_side(image: np.ndarray, input_size: tuple[int, int] | None) -> None:
    """Refuse what is too small for a network that does not resize.

    Raises:
        ValueError: Says what is needed.
    """
    if input_size is None and min(image.shape[:2]) < 32:
        raise ValueError(f"it is {image.shape[1]} x {image.shape[0]}, and these old weights need 32 x 32 at least")
