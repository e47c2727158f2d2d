"""Streamed prediction of many files in constant memory: threads read and write while the network predicts."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from tqdm.auto import tqdm

from lesion_segmentation.core.errors import InputError, first_line
from lesion_segmentation.core.storage import StoragePath
from lesion_segmentation.evaluation.expected_dice import Knot
from lesion_segmentation.images.clinic_formats import encode_segmentation
from lesion_segmentation.images.png import encode_mask, encode_png
from lesion_segmentation.images.read import RgbImage
from lesion_segmentation.prediction.description import describe_prediction
from lesion_segmentation.prediction.input_images import ImageFile, read_input_image, require_side
from lesion_segmentation.prediction.settings import NOT_FINITE, PredictionSettings
from lesion_segmentation.prediction.store import SEGMENTATION, PredictionStore

if TYPE_CHECKING:
    from lesion_segmentation.prediction.predictor import Prediction, Predictor

logger = logging.getLogger(__name__)
Item = TypeVar("Item")
Result = TypeVar("Result")

LOCAL_THREADS, REMOTE_THREADS = 2, 8
"""Number of threads that read, and of threads that write. Local ones spend their time decoding, remote ones waiting."""
MAX_UNWRITTEN = 8
"""Maximum number of predictions that wait to be written. Each takes 8 bytes per pixel with its image and mask."""
CONTOUR_COLOR = (0, 255, 0)


@dataclass(frozen=True)
class Predicted:
    """Prediction for an image, the disagreement of the flips, and the seconds since the previous prediction."""

    file: ImageFile
    image: RgbImage
    prediction: "Prediction"
    disagreement: float | None
    seconds: float


Failure = tuple[ImageFile, str]
"""An image file that could not be read or predicted, and the reason."""


def predict_files(predictor: "Predictor", files: Iterable[ImageFile]) -> Iterator[Predicted | Failure]:
    """Predict files lazily. An unreadable file yields a Failure and does not affect others.

    Predictions have the order of the files. A Failure may come before the predictions of earlier files, because two
    batches are read ahead.
    """
    waiting: deque[tuple[ImageFile, RgbImage]] = deque()
    failures: deque[Failure] = deque()

    def read() -> Iterator[np.ndarray]:
        stream = iter(files)
        first = list(islice(stream, 1))
        threads = REMOTE_THREADS if first and isinstance(first[0].path, StoragePath) else LOCAL_THREADS
        reading = partial(_read, input_size=predictor.metadata.input_size)
        for file, image in _map_in_threads(reading, chain(first, stream), threads, 2 * predictor.batch_size):
            if isinstance(image, RgbImage):
                waiting.append((file, image))
                yield image.pixels
            else:
                failures.append((file, image))

    last = time.perf_counter()
    for prediction, disagreement in predictor.predict_and_compare(read()):
        while failures:
            yield failures.popleft()
        file, image = waiting.popleft()
        if prediction is None:
            yield file, NOT_FINITE
            continue
        now = time.perf_counter()
        yield Predicted(file, image, prediction, disagreement, now - last)
        last = now
    yield from failures


def predict_to_store(
    predictor: "Predictor",
    files: Sequence[ImageFile],
    store: PredictionStore,
    settings: PredictionSettings,
    finished: int = 0,
) -> None:
    """Predict all given files into a store that was claimed or joined. After an error, finished images are kept.

    A progress bar begins at `finished`, the number of images that were finished earlier.
    """
    bar = tqdm(total=finished + len(files), initial=finished, unit="image", desc="predicting", smoothing=0.05)
    threads = LOCAL_THREADS if store.is_local else REMOTE_THREADS
    write = partial(_write, store=store, settings=settings, knots=predictor.knots)
    predictions = predict_files(predictor, files)
    try:
        with bar:
            for file, row in _map_in_threads(write, predictions, threads, MAX_UNWRITTEN, at_once=True):
                if isinstance(row, str):
                    store.add_failure(file, row)
                else:
                    store.add(file, row)
                bar.update()
    finally:
        store.flush()


def _write(
    each: Predicted | Failure, store: PredictionStore, settings: PredictionSettings, knots: Sequence[Knot]
) -> tuple[ImageFile, dict[str, Any] | str]:
    """Write the files of an image. Return its row, or the reason for a failure, such as a name that is too long."""
    if isinstance(each, tuple):
        return each
    probability, mask = each.prediction
    try:
        row = {
            **describe_prediction(probability, mask, *each.image, knots),
            "disagreement": "" if each.disagreement is None else round(each.disagreement, 6),
            "seconds": round(each.seconds, 4),
        }
        files = {"mask": encode_mask(mask)}
        if settings.overlays:
            files["overlay"] = encode_png(draw_contour(each.image.pixels, mask))
        if settings.probabilities:
            files["probability"] = encode_png(np.round(255 * probability).astype(np.uint8))
        if each.file.name.lower().endswith(".dcm"):
            try:
                files[SEGMENTATION] = encode_segmentation(each.file.read(), mask)
            except ValueError as error:
                logger.warning("%s: %s", each.file.name, error)
        store.write_images(each.file, files)
    except InputError:  # a full disk or unreachable storage affects all images
        raise
    except (OSError, ValueError, MemoryError) as error:
        return each.file, first_line(error)
    return each.file, row


def draw_contour(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a copy of an image, uint8 (H, W, 3), with the contour of a mask, boolean (H, W).

    The contour lies outside the mask. Its width is 1/400 of the longer side, but at least one pixel.
    """
    from scipy.ndimage import binary_dilation

    width = max(1, round(max(mask.shape) / 400))
    border = binary_dilation(mask, iterations=width) & ~mask
    return np.where(border[..., None], np.array(CONTOUR_COLOR, dtype=np.uint8), image)


def _read(file: ImageFile, input_size: tuple[int, int] | None) -> tuple[ImageFile, RgbImage | str]:
    """Return the image, or the reason why it cannot be read."""
    try:
        image = read_input_image(file.path)
        require_side(image, input_size)
    except InputError:  # the storage cannot be used
        raise
    except MemoryError:
        return file, "it needs more memory than is free"
    except (ValueError, OSError) as error:
        return file, str(error)
    return file, image


def _map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, limit: int, at_once: bool = False
) -> Iterator[Result]:
    """Yield the results of all items in order, while threads work on up to `limit` later items.

    A result waits until `limit` later items are submitted, or with `at_once`, only until it is ready.
    """
    queue: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                queue.append(pool.submit(function, item))
                while len(queue) > limit or (at_once and queue and queue[0].done()):
                    yield queue.popleft().result()
            while queue:
                yield queue.popleft().result()
        finally:
            for future in queue:
                future.cancel()
