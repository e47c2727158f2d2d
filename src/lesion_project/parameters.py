"""Every group of parameters, and the model that checks it."""

from pydantic import BaseModel

from lesion_segmentation.data.cases import DataSettings, ImageSize
from lesion_segmentation.data.leakage import LeakGuardSettings
from lesion_segmentation.data.samples import AugmentationSettings
from lesion_segmentation.data.splits import SplitSettings
from lesion_segmentation.prediction.run_settings import RunSettings
from lesion_segmentation.prediction.settings import PredictionSettings
from lesion_segmentation.report.settings import ReportingSettings
from lesion_segmentation.training.search_space import SweepSettings
from lesion_segmentation.training.settings import TrainingSettings

SETTINGS: dict[str, type[BaseModel]] = {
    "data": DataSettings,
    "image_size": ImageSize,
    "split": SplitSettings,
    "augmentation": AugmentationSettings,
    "leak_guard": LeakGuardSettings,
    "training": TrainingSettings,
    "prediction": PredictionSettings,
    "reporting": ReportingSettings,
    "inference": RunSettings,
    "sweep": SweepSettings,
}

RUNTIME_PARAMETERS = ("data_root", "experiment", "comparison", "parent_run", "tracked_run", "places")
"""Given on the command line only: where the outputs stand, their MLflow experiment, which runs are compared; by `kedro
cross-validate`, the MLflow run that a fold belongs to or that the pooling goes on with; and by `kedro predict` where
pictures and masks are, which no record of the run tells."""
