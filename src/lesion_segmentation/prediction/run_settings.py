"""What a prediction of anyone's pictures can be told. Imports no torch."""

from typing import Literal

from pydantic import Field

from lesion_segmentation.core.parameter_model import ParameterModel
from lesion_segmentation.prediction.settings import TestTimeAugmentation


class RunSettings(ParameterModel):
    """The parameters `inference`; what is null is as the weights say.

    Attributes:
        threshold: Probabilities above it are lesion.
        test_time_augmentation: Over which views the mean is predicted.
        annotation_style: Whose experts' way of outlining is asked for, where the network knows several.
        overlays, probabilities: Whether pictures with the mask's annotation_style, and probabilities as grey pictures, are
            written, too.
        device: `auto` takes a GPU where there is one.
        precision: `auto` takes bf16 where the hardware computes with it.
        batch_size: Pictures that are predicted at once; masks do not depend on it.
    """

    threshold: float | None = Field(None, ge=0, le=1)
    test_time_augmentation: TestTimeAugmentation | None = None
    annotation_style: str | None = None
    overlays: bool = False
    probabilities: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    batch_size: int = Field(8, ge=1, le=10_000)
