"""A predictor that reads files by itself."""

from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path

import numpy as np

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.prediction import Prediction, Predictor
from lesion_segmentation.prediction.input_images import read_input_image


class ReadingPredictor(Predictor):
    """As Predictor, for pictures and for files of pictures, mixed as they come."""

    def __call__(self, pictures: Iterable[np.ndarray | str | PathLike[str]]) -> Iterator[Prediction]:
        """Predict one after the other as they are asked for.

        Raises:
            InputError: A file is no picture that can be read.
            ValueError: An array is no uint8 (H, W, 3).
        """
        return super().__call__(_read(picture) for picture in pictures)


def _read(picture: np.ndarray | str | PathLike[str]) -> np.ndarray:
    if isinstance(picture, np.ndarray):
        return picture
    try:
        return read_input_image(Path(picture))
    except (ValueError, OSError) as error:
        raise InputError(f"{picture}: {error}") from error
