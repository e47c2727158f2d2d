"""Arrays by case."""

import base64
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from kedro_datasets._typing import ImagePreview
from PIL import Image

from lesion_project.datasets.atomic import AtomicFile, readable
from lesion_segmentation.core.atomic_files import atomic_write, free_memory
from lesion_segmentation.core.errors import InputError


class CaseArrays(AtomicFile):
    """A mapping from case_id (or sample_id) to an array, as one compressed .npz file.

    It loads as a mapping that reads each array when it is asked for: ten thousand cases need no memory of their own.

    Example:
        images:
          type: lesion_project.datasets.CaseArrays
          filepath: data/03_primary/images.npz
    """

    def load(self) -> Mapping[str, np.ndarray]:
        return ArraysOfFile(self._filepath)

    def save(self, data: Mapping[str, np.ndarray]) -> None:
        """Write one array after the other; what stood there before is replaced only when that succeeded."""
        with atomic_write(self._filepath) as path, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in data.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)

    def preview(self) -> ImagePreview:
        """The first four arrays, at the size of the first, in two rows (the shape of kedro-viz's panel), as a PNG."""
        with np.load(self._filepath) as file:
            pictures = [_to_picture(file[name]) for name in file.files[:4]]
        size = pictures[0].size
        pixels = [np.asarray(picture.resize(size)) for picture in pictures]
        rows = [np.concatenate(pixels[first : first + 2], axis=1) for first in (0, 2) if len(pixels) >= first + 2]
        buffer = io.BytesIO()
        Image.fromarray(np.concatenate(rows or pixels)).save(buffer, format="PNG")
        return ImagePreview(base64.b64encode(buffer.getvalue()).decode())


class ArraysOfFile(Mapping[str, np.ndarray]):
    """The arrays of an .npz file, each read when it is asked for.

    Raises:
        InputError: The file, or the array that is asked for, is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with readable(path):
            self._file = np.load(path)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._file:
            raise KeyError(name)
        with readable(self._path):
            self._require_room(name)
            array: np.ndarray = self._file[name]
            if array.dtype.kind not in "biuf":
                raise ValueError(f"{name} is {array.dtype}, expected numbers")
            return array

    def _require_room(self, name: str) -> None:
        """Zeros pack a thousand to one, so that a small file may unpack to more than there is memory."""
        unpacked = self._file.zip.getinfo(f"{name}.npy").file_size
        if unpacked > (free := free_memory()):
            raise InputError(
                f"{name} of {self._path} unpacks to {unpacked / 1e9:.1f} GB, but {free / 1e9:.1f} GB of memory are "
                "free. Free some memory."
            )

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.files)

    def __len__(self) -> int:
        return len(self._file.files)


def _to_picture(array: np.ndarray) -> Image.Image:
    """Images as they are; masks (0 and 1) and probabilities as grey."""
    return Image.fromarray(array if array.ndim == 3 else (array.astype(np.float32) * 255).astype(np.uint8))
