"""Input images of a prediction: listing, sharding and reading them.

Listing raises an `InputError` if the storage cannot be used, there are no images, or two images would get the same mask
file. Selecting a shard raises one if the shard is not K/N with K from 1 to N.
"""

import io
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.storage import Location, StoragePath, fingerprint
from lesion_segmentation.images.listing import WRONG_SUFFIX, has_image_suffix, is_hidden, list_image_files
from lesion_segmentation.images.read import MAX_PIXELS, SUFFIXES, RgbImage, read_rgb


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

    def read(self) -> bytes:
        """Return the content of the file."""
        return self.path.read() if isinstance(self.path, StoragePath) else self.path.read_bytes()


def remove_suffix(name: str) -> str:
    """Return the name of an image without the suffix of its last component."""
    return name.removesuffix(Path(name).suffix)


class SelectedImages(NamedTuple):
    """The images that are `listed` in the input, and the `files` to predict, which are all of them or one shard.

    `left_out` has the names of all other files, except hidden ones, with the reasons.
    """

    files: list[ImageFile]
    listed: list[ImageFile]
    left_out: Mapping[str, str] = MappingProxyType({})


def select_images(source: Location, shard: str | None = None) -> SelectedImages:
    """List the input images and select one shard of them, or all for None."""
    images, left_out = _list_storage(source) if isinstance(source, StoragePath) else _list_folder(source)
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
    return SelectedImages(take_shard(images, shard), images, left_out)


def list_input_images(source: Location) -> list[ImageFile]:
    """List a single image, or all images of a folder at any depth, in a fixed order. Links to folders are followed."""
    return select_images(source).listed


def _list_folder(source: Path) -> tuple[list[ImageFile], dict[str, str]]:
    source = source.absolute()  # workers may run in another folder
    if source.is_file():
        return [ImageFile.from_path(source, source.name)], {}
    if not source.is_dir():
        raise InputError(f"{source} does not exist, or is no regular file. Expected an image or a folder with images.")
    files, left_out = list_image_files(source)
    return [ImageFile.from_path(path, path.relative_to(source).as_posix()) for path in files], left_out


def _list_storage(source: StoragePath) -> tuple[list[ImageFile], dict[str, str]]:
    """List all files at once. An object store lists a thousand files per request, but checks only one per request."""
    found = source.list()
    if not found:
        raise InputError(f"{source} does not exist or is empty. Expected an image or a folder with images.")
    if set(found) == {""}:
        return [ImageFile(source, source.name, fingerprint(found[""]))], {}
    names = sorted(found)
    if problems := [name for name in names if has_image_suffix(name) and {"", ".", ".."} & set(name.split("/"))]:
        raise InputError.from_problems(f"{source}: these names are not valid file paths", problems, "Rename them.")
    names = [name for name in names if not any(map(is_hidden, name.split("/")))]
    images = [ImageFile(source / name, name, fingerprint(found[name])) for name in names if has_image_suffix(name)]
    return images, {name: WRONG_SUFFIX for name in names if not has_image_suffix(name)}


def take_shard(images: Sequence[ImageFile], shard: str | None) -> list[ImageFile]:
    """Return every N-th image, starting with the K-th, for the shard `K/N`, or all images for None."""
    if shard is None:
        return list(images)
    found = re.fullmatch(r"(\d+)/(\d+)", shard)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"--shard is {shard!r}, expected K/N with K from 1 to N, such as 2/8.")
    return list(images[int(found[1]) - 1 :: int(found[2])])


def read_input_image(path: Location) -> RgbImage:
    """Read an image as it is displayed, in sRGB.

    Raises:
        ValueError: The file cannot be read; `read_rgb` describes why.
        FileNotFoundError, PermissionError: A remote file does not exist or may not be read.
        MemoryError: The memory is not sufficient.
    """
    return read_rgb(io.BytesIO(path.read()) if isinstance(path, StoragePath) else path, MAX_PIXELS)


def require_side(image: RgbImage, input_size: tuple[int, int] | None) -> None:
    """Raise a ValueError for an image with a side under 32 pixels if the weights have no input size.

    Such weights, of format version 1, predict images at their own size.
    """
    height, width = image.pixels.shape[:2]
    if input_size is None and min(height, width) < 32:
        raise ValueError(f"it is {width} x {height}, but these weights have no input size and need at least 32 x 32")
