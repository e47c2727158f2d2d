"""What the reporting can be told."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ReportingSettings(BaseModel):
    """The parameters `reporting`.

    Attributes:
        score_test: False leaves the test cases untouched: so are recipes searched.
        mirror_mean: Predict with the mean over the picture and its three mirror images; every table then says
            `mirror_mean` in its column `prediction`, else `plain`.
        precision: Of the prediction: `auto` takes bf16 where the hardware computes with it, else float32.
        enhanced_threshold: The paper's enhancement: probabilities above it are lesion, beside the network's
            threshold of 0.5, which it stays below.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    score_test: bool = True
    mirror_mean: bool = False
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    enhanced_threshold: float = Field(0.2, gt=0, lt=0.5)

    @property
    def prediction(self) -> str:
        """The name of the way of predicting, as tables give it."""
        return "mirror_mean" if self.mirror_mean else "plain"
