"""Prediction of lesion masks for images of any size, from arrays, files, folders and object stores.

Functions of this package that read images or predict raise an `InputError` if the storage cannot be used, the disk is
full, or the memory is not sufficient for a batch. Names of `predictor` are imported on first use, so that commands that
only check their input start without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lesion_segmentation.prediction.input_images import list_input_images, select_images
from lesion_segmentation.prediction.request import predict_selected
from lesion_segmentation.prediction.settings import PredictionSettings
from lesion_segmentation.prediction.store import PredictionStore

if TYPE_CHECKING:
    from lesion_segmentation.prediction.predictor import Prediction, Predictor, load_predictor, predict

__all__ = [
    "Prediction", "PredictionSettings", "PredictionStore", "Predictor", "list_input_images", "load_predictor",
    "predict", "predict_selected", "select_images",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("lesion_segmentation.prediction.predictor"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
