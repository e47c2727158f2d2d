"""What the reporting can be told."""

import warnings

from pydantic import Field

from lesion_segmentation.core.parameter_model import ParameterModel

# A metaclass of pydantic's has a method of this name; as a field it is no danger.
warnings.filterwarnings("ignore", 'Field name "register"', UserWarning)


class ReportingSettings(ParameterModel):
    """The parameters `reporting`.

    Attributes:
        score_test: False leaves the test cases untouched: so are recipes searched.
        export: Whether the network is written as one ONNX file, too.
        register: Under which name the network becomes a version in MLflow's registry; null leaves it out.
        enhanced_threshold: A second threshold, below the network's of 0.5: the paper's enhancement of its predictions.
    """

    score_test: bool = True
    export: bool = False
    register: str | None = Field(None, min_length=1)
    enhanced_threshold: float = Field(0.2, gt=0, lt=0.5)
