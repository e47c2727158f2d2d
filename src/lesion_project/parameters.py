"""Parameter models by their names in conf, and the parameters that only the command line sets."""

from pydantic import BaseModel

from lesion_segmentation.data.cases import DataSettings, ImageSize
from lesion_segmentation.data.leakage import LeakGuardSettings
from lesion_segmentation.data.samples import AugmentationSettings
from lesion_segmentation.data.splits import SplitSettings
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
    "sweep": SweepSettings,
}

RUNTIME_PARAMETERS = ("data_root", "experiment", "comparison", "parent_run", "tracked_run", "predict_arguments")
"""Parameters outside the models: the folder of the outputs, the MLflow experiment and the runs to compare; for `kedro
cross-validate`, the parent run of a fold and the run that the pooled scores are logged to; for `kedro predict`, its
arguments, which are not logged."""
WITHOUT_EFFECT = (
    "data_root", "experiment", "training.resume", "training.device", "prediction.device", "prediction.batch_size",
    "prediction.overlays", "prediction.probabilities", "prediction.annotations", "prediction.rank",
)  # fmt: skip
"""Parameters that have no effect on the result of a run, and neither have those of `sweep`."""
