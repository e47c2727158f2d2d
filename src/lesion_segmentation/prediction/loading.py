"""A predictor in one line, and what its masks depend on."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesion_segmentation.prediction.run_settings import RunSettings
from lesion_segmentation.released import WEIGHTS

if TYPE_CHECKING:
    from lesion_segmentation.model import Network
    from lesion_segmentation.prediction import Predictor
    from lesion_segmentation.prediction.reading import ReadingPredictor


def load_predictor(weights: str | Path = WEIGHTS, settings: RunSettings | None = None) -> "ReadingPredictor":
    """Read a weights file and prepare it once.

    Example:
        predictor = load_predictor()
        masks = [prediction.mask for prediction in predictor(["a.jpg", "b.png"])]

    Args:
        weights: A file that a training wrote; by default the released network.
        settings: What is asked for otherwise than the weights say.

    Raises:
        InputError: The file is not there or damaged, or the device is not there.
    """
    from lesion_segmentation.model import load_network

    return make_predictor(load_network(weights), settings or RunSettings())


def make_predictor(network: "Network", settings: RunSettings) -> "ReadingPredictor":
    """A network prepared as asked for."""
    from lesion_segmentation.core.hardware import keep_freed_memory
    from lesion_segmentation.prediction.reading import ReadingPredictor

    keep_freed_memory()
    return ReadingPredictor(
        network,
        device=settings.device,
        precision=settings.precision,
        test_time_augmentation=settings.test_time_augmentation,
        batch_size=settings.batch_size,
        threshold=settings.threshold,
        annotation_style=settings.annotation_style,
    )


def describe_masks(network: "Network", predictor: "Predictor") -> dict[str, Any]:
    """What the masks of a folder depend on: weights and what they say, threshold, views, rule, annotation_style, precision."""
    digest = hashlib.sha256(json.dumps(network.metadata.to_dict(), sort_keys=True).encode())
    for name, tensor in sorted(network.own_state().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return {
        "weights": digest.hexdigest()[:16],
        "architecture": network.title,
        "trained_on": network.metadata.source,
        "threshold": predictor.threshold,
        "test_time_augmentation": predictor.test_time_augmentation,
        "keep_largest_component": predictor.keep_largest_component,
        "annotation_style": predictor.annotation_style,
        "precision": predictor.precision,
    }
