"""Anyone's pictures to masks in a folder: streamed, gone on with after any kill, each bad file for itself.

torch is imported only where a network is loaded, so that a command that refuses something refuses it at once.
"""

from lesion_segmentation.inference.folder import PredictionFolder
from lesion_segmentation.inference.loading import load_predictor
from lesion_segmentation.inference.pictures import PictureFile, choose_pictures, list_pictures, take_part
from lesion_segmentation.inference.settings import InferenceSettings
from lesion_segmentation.inference.stream import Failure, Predicted, predict_folder, predict_pictures

__all__ = [
    "Failure",
    "InferenceSettings",
    "PictureFile",
    "Predicted",
    "PredictionFolder",
    "choose_pictures",
    "list_pictures",
    "load_predictor",
    "predict_folder",
    "predict_pictures",
    "take_part",
]
