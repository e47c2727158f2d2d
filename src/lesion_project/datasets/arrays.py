"""Arrays by case in the catalog."""

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
    """Mapping from case_id (or sample_id) to an array, in one compressed .npz file.

    It loads as a mapping that reads an array on each access, so that ten thousand cases need little memory.
    """

    def load(self) -> Mapping[str, np.ndarray]:
        return ArraysOfFile(self._filepath)

    def save(self, data: Mapping[str, np.ndarray]) -> None:
        with atomic_write(self._filepath) as path, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in data.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)

    def preview(self) -> ImagePreview:
        """Return a PNG of the first four arrays at the size of the first, in two rows as kedro-viz shows them."""
        with np.load(self._filepath) as file:
            images = [_to_image(file[name]) for name in file.files[:4]]
        pixels = [np.asarray(image.resize(images[0].size)) for image in images]
        rows = [np.concatenate(pixels[first : first + 2], axis=1) for first in (0, 2) if len(pixels) >= first + 2]
        buffer = io.BytesIO()
        Image.fromarray(np.concatenate(rows or pixels)).save(buffer, format="PNG")
        return ImagePreview(base64.b64encode(buffer.getvalue()).decode())


class ArraysOfFile(Mapping[str, np.ndarray]):
    """Arrays of an .npz file, each read on access. A damaged or too large array raises an InputError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with readable(path):
            self._file = np.load(path)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._file:
            raise KeyError(name)
        with readable(self._path):
            self._require_memory(name)
            array: np.ndarray = self._file[name]
            if array.dtype.kind not in "biuf":
                raise ValueError(f"{name} has the type {array.dtype}, expected numbers")
            return array

    def _require_memory(self, name: str) -> None:
        """Raise an error for an array that does not fit: a file of zeros may unpack to a thousand times its size."""
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


def _to_image(array: np.ndarray) -> Image.Image:
    """Convert an RGB image, or a mask or probabilities in [0, 1] to grey levels."""
    return Image.fromarray(array if array.ndim == 3 else (array.astype(np.float32) * 255).astype(np.uint8))
