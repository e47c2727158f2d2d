"""What a prediction can be told. Imports no torch, so that the command line stays quick."""

from typing import Literal

from lesion_segmentation.core.parameter_model import ParameterModel

TestTimeAugmentation = Literal["none", "four", "eight"]
"""The mean over so many views of the picture: itself and its mirror images; with `eight` these turned by 90 degrees,
too."""


class PredictionSettings(ParameterModel):
    """The parameters `prediction`.

    Attributes:
        test_time_augmentation: Over which views of a picture the mean is predicted; every table names it.
        keep_largest_component: Of each mask the largest part alone is kept, with its holes filled; probabilities stay as they
            are. Every table of scores says whether.
        annotation_style: Whose experts' way of outlining is asked for, where the network knows several; null is the first.
        device: `auto` takes a GPU where there is one.
        precision: `auto` takes bf16 where the hardware computes with it, else float32.
    """

    test_time_augmentation: TestTimeAugmentation = "four"
    keep_largest_component: bool = True
    annotation_style: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
