"""Parameters of a hyperparameter search. This module imports neither torch nor Optuna."""

from typing import Any, Literal

from pydantic import Field, field_validator

from lesion_segmentation.core.parameter_model import ParameterModel, Seed

FOLDS_FOR_CHOOSING = (0, 1)
"""Folds of the five that recipes are chosen on; the others are scored once a recipe is committed."""


class Range(ParameterModel):
    """Numbers from `low` to `high`, inclusive: log-uniform with `log`, or in steps of `step` from `low`."""

    low: float
    high: float
    log: bool = False
    step: float | None = Field(None, gt=0)


class Choices(ParameterModel):
    """Values of which a trial takes one."""

    choices: list[Any] = Field(min_length=1)


class SweepSettings(ParameterModel):
    """The parameters `sweep`.

    Attributes:
        trials: Total number of trials, including those of earlier calls.
        objective: Score to maximize: `validation` is the Dice of the validation cases in the last epoch; `folds` is the
            mean Dice of the held-out cases of folds 0 and 1 of five, which takes two trainings per trial.
        space: Values to search for each parameter, such as training.learning_rate.
        pruning: Whether a trial is stopped if its validation Dice is below the median of the others at that epoch.
        storage: URL of Optuna's database, such as postgresql://user@host/name; by default SQLite in the study's folder.
        study: Name of the study and of its folder. Trials with other parameters need another name.
        seed: Seed of the search.
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
    def _is_known(cls, objective: str) -> str:
        if objective not in ("validation", "folds"):
            raise ValueError(
                f"sweep.objective is {objective!r}, expected validation or folds (0 and 1): recipes are not chosen "
                "on test cases or on folds 2 to 4"
            )
        return objective
