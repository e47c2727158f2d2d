"""Catalog datasets of ours: arrays by case, networks, and synthetic cases in place of PH2's files.

torch is imported only where a network is read or written, so that kedro-viz starts without it.
"""

import base64
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from kedro.io import AbstractDataset
from kedro_datasets._typing import ImagePreview
from PIL import Image


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place only when all was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


class _FileDataset(AbstractDataset[Any, Any]):
    """One file that is replaced as a whole."""

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class CaseArrays(_FileDataset):
    """A mapping from case_id (or sample_id) to an array, as one compressed .npz file.

    Example:
        images:
          type: lesion_segmentation.datasets.CaseArrays
          filepath: data/03_primary/images.npz
    """

    def load(self) -> dict[str, np.ndarray]:
        """Read all arrays."""
        with np.load(self._filepath) as file:
            return dict(file)

    def save(self, data: dict[str, np.ndarray]) -> None:
        """Write all arrays; what stood there before is replaced only when that succeeded."""
        with _replacing(self._filepath) as path:
            np.savez_compressed(path, **data)  # type: ignore[arg-type]

    def preview(self) -> ImagePreview:
        """The first four arrays in two rows (the shape of kedro-viz's panel), as a PNG."""
        with np.load(self._filepath) as file:
            pictures = [_to_picture(file[name]) for name in file.files[:4]]
        rows = [np.concatenate(pictures[first : first + 2], axis=1) for first in (0, 2) if len(pictures) >= first + 2]
        buffer = io.BytesIO()
        Image.fromarray(np.concatenate(rows or pictures)).save(buffer, format="PNG")
        return ImagePreview(base64.b64encode(buffer.getvalue()).decode())


def _to_picture(array: np.ndarray) -> np.ndarray:
    """Images as they are; masks (0 and 1) and probabilities as grey."""
    if array.ndim == 3:
        return array
    return (array.astype(np.float32) * 255).astype(np.uint8)


class NetworkDataset(_FileDataset):
    """A network with its metadata, as one safetensors file."""

    def load(self) -> Any:
        """Build the network on the CPU, ready to predict."""
        from lesion_segmentation.model import load_network

        return load_network(self._filepath)

    def save(self, data: Any) -> None:
        """Write weights and metadata; what stood there before is replaced only when that succeeded."""
        from lesion_segmentation.model import save_network

        with _replacing(self._filepath) as path:
            save_network(data, path)


class SyntheticCases(AbstractDataset[Any, Any]):
    """Drawn cases in the place of PH2's files: the same keys and types, so that no node knows the difference.

    Args:
        part: `images` or `masks` load as a mapping from case_id to a function that gives the picture;
            `annotations` as the text of an annotation table.
        cases: How many.
        seed: Of the drawing.
    """

    def __init__(
        self,
        part: Literal["images", "masks", "annotations"],
        cases: int,
        seed: int = 0,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._part, self._cases, self._seed = part, cases, seed
        self.metadata = metadata

    def load(self) -> dict[str, Callable[[], Image.Image]] | str:
        """Draw; pictures only when they are asked for."""
        from lesion_segmentation.data import synthetic

        if self._part == "annotations":
            return synthetic.annotations_text(self._cases, self._seed)
        numbers = enumerate(synthetic.case_ids(self._cases), start=1)
        return {case_id: partial(self._picture, number) for number, case_id in numbers}

    def _picture(self, number: int) -> Image.Image:
        from lesion_segmentation.data import synthetic

        case = synthetic.draw_case(number, self._seed)
        return Image.fromarray(case.image if self._part == "images" else case.mask)

    def save(self, data: Any) -> None:
        """Not possible: the cases are drawn."""
        raise NotImplementedError("synthetic cases are drawn, not saved")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"part": self._part, "cases": self._cases, "seed": self._seed}
