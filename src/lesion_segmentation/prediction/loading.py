"""Predictors from a weights file or a network, with prediction settings."""

from pathlib import Path
from typing import TYPE_CHECKING

from lesion_segmentation.prediction.settings import FOLLOW_WEIGHTS, PredictionSettings
from lesion_segmentation.released import WEIGHTS

if TYPE_CHECKING:
    from lesion_segmentation.model import Network
    from lesion_segmentation.prediction.predictor import Predictor


def load_predictor(weights: str | Path = WEIGHTS, settings: PredictionSettings | None = None) -> "Predictor":
    """Read a weights file and prepare a predictor.

    Example:
        predictor = load_predictor()
        masks = [prediction.mask for prediction in predictor(["a.jpg", "b.png"])]

    Args:
        weights: A weights file that a training wrote. The default is the released network.
        settings: Settings that replace those in the metadata of the weights.

    Raises:
        InputError: The file does not exist or is damaged, or the device is not available.
    """
    from lesion_segmentation.model import load_network

    return make_predictor(load_network(weights), settings or PredictionSettings())


def make_predictor(network: "Network", settings: PredictionSettings) -> "Predictor":
    """Prepare a predictor for many images of different sizes."""
    from lesion_segmentation.core.hardware import keep_freed_memory
    from lesion_segmentation.prediction.predictor import Predictor

    keep_freed_memory()
    options = settings.model_dump(include={"device", "precision", "batch_size", *FOLLOW_WEIGHTS})
    return Predictor(network, **options)
