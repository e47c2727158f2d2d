"""Streamed prediction of many files in constant memory: threads read and write while the network predicts."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from lesion_segmentation.core.errors import InputError, first_line
from lesion_segmentation.core.storage import StoragePath
from lesion_segmentation.prediction.description import describe_prediction
from lesion_segmentation.prediction.input_images import ImageFile, read_input_image, require_side
from lesion_segmentation.prediction.settings import PredictionSettings
from lesion_segmentation.prediction.store import PredictionStore

if TYPE_CHECKING:
    from lesion_segmentation.prediction.predictor import Prediction, Predictor

LOCAL_THREADS, REMOTE_THREADS = 2, 8
"""Number of threads that read, and of threads that write, on local disks and on remote storage.

Local threads spend their time decoding, remote ones waiting.
"""
MAX_UNWRITTEN = 8
"""Maximum number of predictions that wait to be written. Each takes 8 bytes per pixel with its image and mask."""
CONTOUR_COLOR = (0, 255, 0)
"""Red, green and blue, 0 to 255."""


@dataclass(frozen=True)
class Predicted:
    """Prediction for an input image.

    Attributes:
        file: The image file.
        image: Its pixels, uint8 (H, W, 3).
        prediction: Probabilities and mask at the size of the image.
        seconds: Seconds since the previous prediction, or since the start for the first one.
    """

    file: ImageFile
    image: np.ndarray
    prediction: "Prediction"
    seconds: float


@dataclass(frozen=True)
class Failure:
    """An image file that could not be read, and the reason."""

    file: ImageFile
    reason: str


def predict_files(predictor: "Predictor", files: Iterable[ImageFile]) -> Iterator[Predicted | Failure]:
    """Predict files lazily. An unreadable file yields a Failure and does not affect others.

    Predictions have the order of the files. A Failure may come before the predictions of earlier files, because files
    are read ahead.

    Raises:
        InputError: The storage cannot be used, or the memory is not sufficient for a batch.
    """
    waiting: deque[tuple[ImageFile, np.ndarray]] = deque()
    failures: deque[Failure] = deque()

    def read() -> Iterator[np.ndarray]:
        for file, image in _read_ahead(files, predictor.batch_size, predictor.metadata.input_size):
            if isinstance(image, np.ndarray):
                waiting.append((file, image))
                yield image
            else:
                failures.append(Failure(file, image))

    last = time.perf_counter()
    for prediction in predictor(read()):
        while failures:
            yield failures.popleft()
        file, image = waiting.popleft()
        now = time.perf_counter()
        yield Predicted(file, image, prediction, now - last)
        last = now
    yield from failures


def predict_to_store(
    predictor: "Predictor",
    files: Sequence[ImageFile],
    store: PredictionStore,
    settings: PredictionSettings,
    finished: int = 0,
) -> None:
    """Predict all given files into a store, with a progress bar.

    Args:
        predictor: The predictor.
        files: The images to predict.
        store: A store that was claimed or joined.
        settings: The settings `overlays` and `probabilities` are used.
        finished: Number of images that were finished earlier, for the progress bar.

    Raises:
        InputError: The disk is full, the storage cannot be used, or the memory is not sufficient for a batch. Finished
            images are kept.
    """
    bar = tqdm(total=finished + len(files), initial=finished, unit="image", desc="predicting", smoothing=0.05)
    threads = LOCAL_THREADS if store.is_local else REMOTE_THREADS
    try:
        with bar, ThreadPoolExecutor(threads) as writers:
            write = _limit_pending(writers, MAX_UNWRITTEN)
            for each in predict_files(predictor, files):
                if isinstance(each, Failure):
                    store.add_failure(each.file, each.reason)
                else:
                    _add(store, write(_write, each, store, settings))
                bar.update()
            _add(store, write())
    finally:
        store.flush()


def _add(store: PredictionStore, written: Iterable[tuple[ImageFile, dict[str, Any] | str]]) -> None:
    for file, row in written:
        if isinstance(row, str):
            store.add_failure(file, row)
        else:
            store.add(file, row)


def _write(
    each: Predicted, store: PredictionStore, settings: PredictionSettings
) -> tuple[ImageFile, dict[str, Any] | str]:
    """Write the files of an image. Return its row, or the reason for a failure, such as a name that is too long."""
    probability, mask = each.prediction
    try:
        row = {**describe_prediction(probability, mask, each.image), "seconds": round(each.seconds, 4)}
        arrays = {"mask": np.where(mask, 255, 0).astype(np.uint8)}
        if settings.overlays:
            arrays["overlay"] = draw_contour(each.image, mask)
        if settings.probabilities:
            arrays["probability"] = np.round(255 * probability).astype(np.uint8)
        store.write_images(each.file, arrays)
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


def _read_ahead(
    files: Iterable[ImageFile], batch_size: int, input_size: tuple[int, int] | None
) -> Iterator[tuple[ImageFile, np.ndarray | str]]:
    """Yield each file with its image or the reason why it cannot be read, reading two batches in advance."""
    stream = iter(files)
    first = next(stream, None)
    if first is None:
        return
    with ThreadPoolExecutor(REMOTE_THREADS if isinstance(first.path, StoragePath) else LOCAL_THREADS) as readers:
        queue: deque[tuple[ImageFile, Future[np.ndarray | str]]] = deque()
        try:
            for file in chain([first], stream):
                queue.append((file, readers.submit(_read, file, input_size)))
                if len(queue) > 2 * batch_size:
                    done, future = queue.popleft()
                    yield done, future.result()
            while queue:
                done, future = queue.popleft()
                yield done, future.result()
        finally:
            for _, future in queue:
                future.cancel()


def _read(file: ImageFile, input_size: tuple[int, int] | None) -> np.ndarray | str:
    try:
        image = read_input_image(file.path)
        require_side(image, input_size)
    except InputError:  # the storage cannot be used
        raise
    except MemoryError:
        return "it needs more memory than is free"
    except (ValueError, OSError) as error:
        return str(error)
    return image


def _limit_pending(pool: ThreadPoolExecutor, limit: int) -> Callable[..., Iterator[Any]]:
    """Return a function that submits a call and returns an iterator over finished results in the order of the calls.

    The call is submitted when the iteration starts. The iterator waits while more than `limit` calls are pending. If
    the function is called without arguments, the iterator yields all remaining results.
    """
    queue: deque[Future[Any]] = deque()

    def submit(*call: Any) -> Iterator[Any]:
        if call:
            queue.append(pool.submit(*call))
        while queue and (not call or len(queue) > limit or queue[0].done()):
            yield queue.popleft().result()

    return submit
