"""Pictures through a predictor, one after the other in flat memory; reading and writing go on beside the network."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from lesion_segmentation.core.errors import InputError, first_line
from lesion_segmentation.core.storage import Location, Place
from lesion_segmentation.prediction.description import describe_prediction
from lesion_segmentation.prediction.input_images import ImageFile, read_input_image, require_side
from lesion_segmentation.prediction.run_settings import RunSettings
from lesion_segmentation.prediction.tables import Target

if TYPE_CHECKING:
    from lesion_segmentation.prediction import Prediction, Predictor

THREADS, THREADS_OF_PLACES = 2, 8
"""That read, and as many that write: from a disk decoding is the work, elsewhere waiting for answers."""
UNWRITTEN = 8
"""Pictures that wait to be written, at most: each with its probabilities, which are four times its size."""
OUTLINE = (0, 255, 0)


@dataclass(frozen=True)
class Predicted:
    """A picture, uint8 (H, W, 3), what was predicted for it, and the seconds that passed since the one before."""

    file: ImageFile
    image: np.ndarray
    prediction: "Prediction"
    seconds: float


@dataclass(frozen=True)
class Failure:
    """A picture that could not be read, and why."""

    file: ImageFile
    reason: str


def predict_images(predictor: "Predictor", files: Iterable[ImageFile]) -> Iterator[Predicted | Failure]:
    """Predict files in their order; a bad one costs itself only."""
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


def predict_folder(predictor: "Predictor", files: Sequence[ImageFile], folder: Target, settings: RunSettings) -> None:
    """Predict what is left of the files into a folder that was claimed; a bar shows pictures a second and what is left.

    Raises:
        InputError: The disk is full, or there is no permission.
    """
    left = folder.left(files)
    predict_remaining(predictor, left, folder, settings, len(files) - len(left))


def predict_remaining(
    predictor: "Predictor", left: Sequence[ImageFile], folder: Target, settings: RunSettings, before: int = 0
) -> None:
    """As predict_folder, of files that are known to be left, beside so many that were done before."""
    bar = tqdm(total=before + len(left), initial=before, unit="picture", desc="predicting", smoothing=0.05)
    threads = _count_threads(folder.target)
    with bar, ThreadPoolExecutor(threads) as writers:
        write = _bounded(writers, UNWRITTEN)
        for each in predict_images(predictor, left):
            if isinstance(each, Failure):
                folder.fail(each.file, each.reason)
            else:
                for done in write(_finish, each, folder, settings):
                    _note(folder, *done)
            bar.update()
        for done in write():
            _note(folder, *done)


def _note(folder: Target, file: ImageFile, row: Mapping[str, Any] | str) -> None:
    if isinstance(row, str):
        folder.fail(file, row)
    else:
        folder.note(file, row)


def _finish(each: Predicted, folder: Target, settings: RunSettings) -> tuple[ImageFile, dict[str, Any] | str]:
    """Write the files of a picture; gives its row, or why it has none: a name that is too long, say."""
    try:
        return each.file, _write(each, folder, settings)
    except InputError:  # the disk is full, say, or the place is away: that is no fault of this picture
        raise
    except (OSError, ValueError, MemoryError) as error:
        return each.file, first_line(error)


def _write(each: Predicted, folder: Target, settings: RunSettings) -> dict[str, Any]:
    probability, mask = each.prediction
    row = {**describe_prediction(probability, mask, each.image), "seconds": round(each.seconds, 4)}
    arrays = {"mask": np.where(mask, 255, 0).astype(np.uint8)}
    if settings.overlays:
        arrays["overlay"] = draw_contour(each.image, mask)
    if settings.probabilities:
        arrays["probability"] = np.round(255 * probability).astype(np.uint8)
    folder.write_files(each.file, arrays)
    return row


def draw_contour(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture with the border of the mask, thicker in larger pictures."""
    from scipy.ndimage import binary_dilation

    width = max(1, round(max(mask.shape) / 400))
    border = binary_dilation(mask, iterations=width) & ~mask
    return np.where(border[..., None], np.array(OUTLINE, dtype=np.uint8), image)


def _count_threads(location: Location) -> int:
    return THREADS_OF_PLACES if isinstance(location, Place) and not location.is_local else THREADS


def _read_ahead(
    files: Iterable[ImageFile], batch_size: int, input_size: tuple[int, int] | None
) -> Iterator[tuple[ImageFile, np.ndarray | str]]:
    """Each file with its picture, or with what is wrong with it; two batches are read before they are asked for."""
    stream = iter(files)
    first = next(stream, None)
    if first is None:
        return
    with ThreadPoolExecutor(_count_threads(first.path)) as readers:
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
    except InputError:  # the place cannot be reached
        raise
    except MemoryError:
        return "it needs more memory than there is"
    except (ValueError, OSError) as error:
        return str(error)
    return image


def _bounded(pool: ThreadPoolExecutor, most: int) -> Callable[..., Iterator[Any]]:
    """Submit a call, and give what is finished in the order of the calls; without a call all that is left."""
    queue: deque[Future[Any]] = deque()

    def submit(*call: Any) -> Iterator[Any]:
        if call:
            queue.append(pool.submit(*call))
        while queue and (not call or len(queue) > most or queue[0].done()):
            yield queue.popleft().result()

    return submit
