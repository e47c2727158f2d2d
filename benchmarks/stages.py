"""Time the stages from an image file to its mask, on one thread: `python -m benchmarks.stages IMAGE [PRECISION]`."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lesion_segmentation.core.hardware import use_threads
from lesion_segmentation.images.masks import binarize
from lesion_segmentation.images.png import encode_mask
from lesion_segmentation.images.resize import resize_image, restore_probability
from lesion_segmentation.prediction import PredictionSettings, load_predictor
from lesion_segmentation.prediction.description import describe_prediction
from lesion_segmentation.prediction.input_images import read_input_image

ROUNDS = 5


def time_stages(image: Path, precision: str = "auto") -> dict[str, float]:
    """Return the milliseconds of each stage for one image with the released network: the fastest of ROUNDS."""
    use_threads(1)
    predictor = load_predictor(settings=PredictionSettings(precision=precision))
    metadata = predictor.metadata
    assert metadata.input_size is not None
    height, width = metadata.input_size
    found: dict[str, float] = {}

    def measure(stage: str, compute: Callable[[], Any]) -> Any:
        seconds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            result = compute()
            seconds.append(time.perf_counter() - start)
        found[stage] = round(1000 * min(seconds), 1)
        return result

    pixels = measure("read", lambda: read_input_image(image).pixels)
    rows, columns = pixels.shape[:2]
    small = measure("resize", lambda: resize_image(pixels, height, width, metadata.resizing, metadata.framing))
    logits = measure("network, alone", lambda: predictor.flip_logits([small]))
    measure("network, batch of 8", lambda: predictor.flip_logits([small] * 8))
    found["network, batch of 8"] = round(found["network, batch of 8"] / 8, 1)
    probability = (logits[:, 0] / metadata.temperature).sigmoid().mean(dim=0).numpy()
    native = measure("to native size", lambda: restore_probability(probability, rows, columns, metadata.framing))
    mask = measure("threshold and largest component", lambda: binarize(native, predictor.threshold, True))
    measure("description", lambda: describe_prediction(native, mask, pixels, "", metadata.expected_dice))
    measure("PNG", lambda: encode_mask(mask))
    use_threads(None)
    return found


if __name__ == "__main__":
    for stage, milliseconds in time_stages(Path(sys.argv[1]), *sys.argv[2:]).items():
        print(f"{stage:32} {milliseconds:8.1f} ms")
