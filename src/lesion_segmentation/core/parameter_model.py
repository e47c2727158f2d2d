"""What every group of parameters shares: it is strict, and it says in words what is wrong."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""Of a draw: what NumPy, scikit-learn and PyTorch all take."""


class ParameterModel(BaseModel):
    """Unknown keys, infinity and NaN are refused; a group is not changed once it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def find_problems(name: str, group: type[BaseModel], values: Mapping[str, Any]) -> list[str]:
    """One sentence for each value that the group cannot have: which key, what was found, what is expected."""
    if not isinstance(values, Mapping):
        return [f"{name} is {values!r}, expected its keys, each on a line of its own"]
    try:
        group(**values)
    except ValidationError as error:
        return find_causes(error, name)
    return []


def find_causes(error: ValidationError, *name: str) -> list[str]:
    """Pydantic's findings in our words, each with the key below `name`."""
    return [_explain(name, each) for each in error.errors(include_url=False)]


def _explain(name: tuple[str, ...], error: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in (*name, *error["loc"]))
    match error["type"]:
        case "extra_forbidden":
            return f"{key}: no such parameter"
        case "missing":
            return f"{key}: nothing found, a value is needed"
        case "value_error":  # of a check of ours, which says it all
            return str(error["ctx"]["error"])
    expected = str(error["msg"]).removeprefix("Input should be ").removeprefix("String should match ")
    return f"{key} is {repr(error['input'])[:100]}, expected {expected}"
