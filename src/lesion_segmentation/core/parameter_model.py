"""Base class of all parameter models, and error messages in plain words for invalid parameters."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lesion_segmentation.core.recorded_settings import RENAMED_KEYS, RENAMED_VALUES

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""A seed that NumPy, scikit-learn and PyTorch all accept."""


class ParameterModel(BaseModel):
    """Frozen model that rejects unknown keys, infinity and NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def find_problems(name: str, model: type[BaseModel], values: Mapping[str, Any]) -> list[str]:
    """Return one message for each invalid value of the parameters `name`: its key, the value and what was expected."""
    if not isinstance(values, Mapping):
        return [f"{name} is {values!r}, expected its keys, each on a line of its own"]
    try:
        model(**values)
    except ValidationError as error:
        return describe_errors(error, name)
    return []


def describe_errors(error: ValidationError, *name: str) -> list[str]:
    """Return one message for each invalid value, with its full key, such as `name`.key."""
    return [_describe(name, each) for each in error.errors(include_url=False)]


def _describe(name: tuple[str, ...], error: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in (*name, *error["loc"])).removeprefix(".")
    match error["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument" if (old := error["loc"][-1]) in RENAMED_KEYS:
            return f"{key} was renamed. Use {key.removesuffix(old)}{RENAMED_KEYS[old]}."
        case "literal_error" if error["input"] in (*RENAMED_VALUES,):
            return f"{key} is {error['input']!r}, a value that was renamed. Use {RENAMED_VALUES[error['input']]!r}."
        case "extra_forbidden" | "unexpected_keyword_argument":
            return f"{key}: no such parameter"
        case "missing":
            return f"{key} is missing, a value is required"
        case "value_error":  # raised by a validator of this project, whose message is complete
            return str(error["ctx"]["error"])
    expected = str(error["msg"]).removeprefix("Input should be ").removeprefix("String should match ")
    return f"{key} is {repr(error['input'])[:100]}, expected {expected}"
