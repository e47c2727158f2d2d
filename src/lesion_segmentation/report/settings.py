"""Parameter model of the pipeline `reporting`."""

import warnings

from pydantic import Field

from lesion_segmentation.core.parameter_model import ParameterModel

# Pydantic's metaclass inherits a method of this name, which a field may hide.
warnings.filterwarnings("ignore", 'Field name "register"', UserWarning)


class ReportingSettings(ParameterModel):
    """The parameters `reporting`.

    Attributes:
        score_test: Whether to predict and score the test cases. Searches for a recipe set it to false.
        export: Whether to export the network to one ONNX file.
        register: Name under which the network becomes a version in MLflow's model registry; null registers nothing.
        enhanced_threshold: Threshold of the paper's enhancement of predictions, lower than the network's 0.5.
    """

    score_test: bool = True
    export: bool = False
    register: str | None = Field(None, max_length=256, pattern=r"^\w[\w .-]*$")
    enhanced_threshold: float = Field(0.2, gt=0, lt=0.5)
