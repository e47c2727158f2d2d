"""Arrays by case."""

import base64
import io
import zipfile
from pathlib import Path

import numpy as np
from kedro_datasets._typing import ImagePreview
from PIL import Image

from lesion_segmentation.datasets.whole import WholeFile, readable
from lesion_segmentation.errors import InputError
from lesion_segmentation.files import free_memory, replacing


class CaseArrays(WholeFile):
    """A mapping from case_id (or sample_id) to an array, as one compressed .npz file.

    Example:
        images:
          type: lesion_segmentation.datasets.CaseArrays
          filepath: data/03_primary/images.npz
    """

    def load(self) -> dict[str, np.ndarray]:
        with readable(self._filepath):
            _require_room(self._filepath)
            with np.load(self._filepath) as file:
                arrays = dict(file)
            texts = [name for name, array in arrays.items() if array.dtype.kind not in "biuf"]
            if texts:
                raise ValueError(f"{texts[0]} is {arrays[texts[0]].dtype}, expected numbers")
            return arrays

    def save(self, data: dict[str, np.ndarray]) -> None:
        """Write all arrays; what stood there before is replaced only when that succeeded."""
        with replacing(self._filepath) as path:
            np.savez_compressed(path, **data)  # type: ignore[arg-type]

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


def _require_room(path: Path) -> None:
    """Zeros pack a thousand to one, so that a small file may unpack to more than there is memory."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > (free := free_memory()):
        raise InputError(
            f"{path} unpacks to {unpacked / 1e9:.1f} GB, but {free / 1e9:.1f} GB of memory are free. Free some memory."
        )


def _to_picture(array: np.ndarray) -> Image.Image:
    """Images as they are; masks (0 and 1) and probabilities as grey."""
    return Image.fromarray(array if array.ndim == 3 else (array.astype(np.float32) * 255).astype(np.uint8))
