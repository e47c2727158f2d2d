"""Prediction of lesion masks for images of any size, from arrays, files, folders and object stores.

Names are imported on first use, so that commands that only check their input start without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lesion_segmentation.prediction.input_images import ImageFile, list_input_images, select_images, take_shard
    from lesion_segmentation.prediction.loading import load_predictor
    from lesion_segmentation.prediction.predictor import Prediction, Predictor, predict
    from lesion_segmentation.prediction.request import predict_selected
    from lesion_segmentation.prediction.settings import PredictionSettings
    from lesion_segmentation.prediction.store import PredictionStore
    from lesion_segmentation.prediction.stream import Failure, Predicted, predict_files

_MODULES = {
    "input_images": ("ImageFile", "list_input_images", "select_images", "take_shard"),
    "loading": ("load_predictor",),
    "predictor": ("Prediction", "Predictor", "predict"),
    "request": ("predict_selected",),
    "settings": ("PredictionSettings",),
    "store": ("PredictionStore",),
    "stream": ("Failure", "Predicted", "predict_files"),
}
__all__ = [
    "Failure",
    "ImageFile",
    "Predicted",
    "Prediction",
    "PredictionSettings",
    "PredictionStore",
    "Predictor",
    "list_input_images",
    "load_predictor",
    "predict",
    "predict_files",
    "predict_selected",
    "select_images",
    "take_shard",
]


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
