"""Input images of a prediction: listing, sharding and reading them.

Listing raises an `InputError` if the storage cannot be used, there are no images, or two images would get the same mask
file; selecting a shard, if it is not K/N with K from 1 to N.
"""

import io
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.storage import Location, StoragePath, fingerprint
from lesion_segmentation.images.read import SUFFIXES, read_rgb

MAX_PIXELS = 100_000_000
"""Maximum number of pixels of an image. Larger images would need gigabytes of memory."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file to predict.

    Attributes:
        name: The path relative to the input folder, with slashes; for a single image, its file name.
        fingerprint: Size and time of modification of a local file, or size and a checksum of the metadata of a remote
            file. It changes if the file is replaced.
    """

    path: Location
    name: str
    fingerprint: tuple[int, ...] = field(default=(), compare=False)

    @classmethod
    def from_path(cls, path: Path, name: str) -> "ImageFile":
        status = path.stat()
        return cls(path, name, (status.st_size, status.st_mtime_ns))

    @property
    def stem(self) -> str:
        """Return the name without its suffix, which is the prefix of the names of all its output files."""
        return remove_suffix(self.name)


def remove_suffix(name: str) -> str:
    """Return the name of an image without the suffix of its last component."""
    return name.removesuffix(Path(name).suffix)


class SelectedImages(NamedTuple):
    """The images to predict, which are all or one shard, and all images that are listed in the input."""

    files: list[ImageFile]
    listed: list[ImageFile]


def select_images(source: Location, shard: str | None = None) -> SelectedImages:
    """List the input images and select one shard of them, or all for None."""
    listed = list_input_images(source)
    return SelectedImages(take_shard(listed, shard), listed)


def list_input_images(source: Location) -> list[ImageFile]:
    """List a single image, or all images of a folder at any depth, in a fixed order."""
    images = _list_storage(source) if isinstance(source, StoragePath) else _list_folder(source)
    if not images:
        raise InputError(f"{source} contains no image. Expected files with the suffixes {', '.join(SUFFIXES)}.")
    by_stem = defaultdict(list)
    for image in images:
        by_stem[image.stem].append(image.name)
    if problems := [" and ".join(names) for names in by_stem.values() if len(names) > 1]:
        raise InputError.from_problems(
            "Some images differ only in their suffix, so their masks would have the same name",
            problems,
            "Rename one of each, or put them into different folders.",
        )
    return images


def _list_folder(source: Path) -> list[ImageFile]:
    source = source.absolute()  # workers may run in another folder
    if source.is_file():
        return [ImageFile.from_path(source, source.name)]
    if not source.is_dir():
        raise InputError(f"{source} does not exist. Expected an image or a folder with images.")
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return [ImageFile.from_path(path, path.relative_to(source).as_posix()) for path in files]


def _list_storage(source: StoragePath) -> list[ImageFile]:
    """List all files at once. An object store lists a thousand files per request, but checks only one per request."""
    found = source.list()
    if not found:
        raise InputError(f"{source} does not exist or is empty. Expected an image or a folder with images.")
    if set(found) == {""}:
        return [ImageFile(source, source.name, fingerprint(found[""]))]
    images = {name: info for name, info in sorted(found.items()) if PurePosixPath(name).suffix.lower() in SUFFIXES}
    if problems := [name for name in images if {"", ".", ".."} & set(name.split("/"))]:
        raise InputError.from_problems(f"{source}: these names are not valid file paths", problems, "Rename them.")
    return [ImageFile(source / name, name, fingerprint(info)) for name, info in images.items()]


def take_shard(images: Sequence[ImageFile], shard: str | None) -> list[ImageFile]:
    """Return every N-th image, starting with the K-th, for the shard `K/N`, or all images for None."""
    if shard is None:
        return list(images)
    found = re.fullmatch(r"(\d+)/(\d+)", shard)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"--shard is {shard!r}, expected K/N with K from 1 to N, such as 2/8.")
    return list(images[int(found[1]) - 1 :: int(found[2])])


def read_input_image(path: Location) -> np.ndarray:
    """Read an image as it is displayed, uint8 (H, W, 3).

    Raises:
        ValueError: The file is not an image, is damaged or unsupported, has more than MAX_PIXELS pixels, or is a local
            file that cannot be opened.
        FileNotFoundError, PermissionError: A remote file does not exist or may not be read.
    """
    return read_rgb(io.BytesIO(path.read()) if isinstance(path, StoragePath) else path, MAX_PIXELS)


def require_side(image: np.ndarray, input_size: tuple[int, int] | None) -> None:
    """Raise a ValueError for an image (H, W, 3) with a side under 32 pixels if the weights have no input size.

    Such weights, of format version 1, predict images at their own size.
    """
    if input_size is None and min(image.shape[:2]) < 32:
        raise ValueError(
            f"it is {image.shape[1]} x {image.shape[0]}, but these weights have no input size and need at least 32 x 32"
        )
