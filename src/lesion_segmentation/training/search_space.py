"""What a search for a recipe can be told. Imports no torch and no Optuna."""

from typing import Any, Literal

from pydantic import Field, field_validator

from lesion_segmentation.core.parameter_model import ParameterModel, Seed

FOLDS_FOR_CHOOSING = (0, 1)
"""Of the five; the others are scored when a recipe is committed."""


class Range(ParameterModel):
    """Numbers from `low` to `high`, both included; `log` draws their logarithm evenly, `step` counts from `low`."""

    low: float
    high: float
    log: bool = False
    step: float | None = Field(None, gt=0)


class Choices(ParameterModel):
    """One of some values."""

    choices: list[Any] = Field(min_length=1)


class SweepSettings(ParameterModel):
    """The parameters `sweep`.

    Attributes:
        trials: How many are wanted in all; those of an earlier call count.
        objective: What is to be high: `validation`, the Dice of the validation cases in the last epoch; or `folds`, the
            mean Dice of the cases held out in folds 0 and 1 of five, which is two trainings a trial. Test cases and
            folds 2 to 4 are for recipes that are committed.
        space: Parameter, such as training.learning_rate, to what is tried.
        pruning: Whether trials are stopped whose validation Dice is under the median of the others' at that epoch.
        storage: Where Optuna keeps the trials: a URL such as postgresql://user@host/name; by default a SQLite file
            beside their data.
        study: Its name there, and that of its folder. Trials under other parameters need another one.
        seed: Of the draws.
    """

    trials: int = Field(20, ge=1, le=100_000)
    objective: Literal["validation", "folds"] = "validation"
    space: dict[str, Range | Choices] = Field(default_factory=dict)
    pruning: bool = True
    storage: str | None = None
    study: str = Field("recipe", pattern=r"^\w[\w.-]*$")
    seed: Seed = 0

    @field_validator("objective", mode="before")
    @classmethod
    def _is_for_choosing(cls, objective: str) -> str:
        if objective not in ("validation", "folds"):
            raise ValueError(
                f"sweep.objective is {objective!r}, expected validation or folds (0 and 1): nothing is chosen on test "
                "cases or on folds 2 to 4"
            )
        return objective
