"""Parameter models by their names in conf, and the parameters that only the command line sets."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lesion_segmentation.core.parameter_model import ParameterModel
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


class RuntimeParameters(ParameterModel):
    """Parameters of the command line: the folder of the outputs, the MLflow experiment and the runs to compare.

    `kedro cross-validate` also sets the parent run of a fold and the run that the pooled scores are logged to, and
    `kedro predict` its arguments, which are not logged.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)

    data_root: str = Field(min_length=1)
    experiment: str = Field("ph2-segnet", min_length=1)
    comparison: dict[Literal["baseline", "candidate"], str] | None = None
    parent_run: str | None = None
    tracked_run: str | None = None
    predict_arguments: dict[str, Any] | None = None


RUNTIME_PARAMETERS = tuple(RuntimeParameters.model_fields)
WITHOUT_EFFECT = (
    "data_root", "experiment", "training.resume", "training.device", "prediction.device", "prediction.batch_size",
    "prediction.overlays", "prediction.probabilities",
)  # fmt: skip
"""Parameters that have no effect on the result of a run, and neither have those of `sweep`."""
