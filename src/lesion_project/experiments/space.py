"""What a search may draw: looked at before any work, since a trial that cannot be would end the search."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lesion_project.parameters import SETTINGS
from lesion_project.tracking import merge, nest
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.parameter_model import find_problems
from lesion_segmentation.training.search_space import Choices, Range

RECIPE = ("image_size", "augmentation", "training")
"""Groups of parameters that may be searched."""
Space = Mapping[str, Range | Choices]


def draw(drawn: Any, name: str, what: Range | Choices) -> Any:
    """The value of an Optuna trial."""
    if isinstance(what, Choices):
        return drawn.suggest_categorical(name, what.choices)
    if _is_whole(what):
        return drawn.suggest_int(name, int(what.low), int(what.high), step=int(what.step or 1))
    return drawn.suggest_float(name, what.low, what.high, log=what.log, step=what.step)


def describe_space(space: Space) -> dict[str, str]:
    """What of a space cannot change within a study: names, kinds of numbers, and choices."""
    return {
        f"sweep.space.{name}": json.dumps(what.choices)
        if isinstance(what, Choices)
        else "whole numbers"
        if _is_whole(what)
        else "numbers"
        for name, what in space.items()
    }


def require_recipe(space: Space, given: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse what is no parameter of a recipe, since a split or a score that is searched would be chosen, not measured.

    Args:
        space: As the parameters `sweep` have it.
        given: The groups RECIPE as they are where nothing is drawn.

    Raises:
        InputError: It is empty, or something of it cannot be drawn or is refused by its group; all of it is named.
    """
    if not space:
        raise InputError("sweep.space is empty. Name parameters such as training.learning_rate.")
    problems = {name: list(_find_faults(name, what)) for name, what in space.items()}
    sound = {name: what for name, what in space.items() if not problems[name]}
    found = [problem for each in problems.values() for problem in each] + _find_refused(sound, given)
    if found:
        raise InputError.from_problems(
            "sweep.space cannot be searched", found, "Of whole numbers the step is named, too; docs/scaling.md has one."
        )


def _find_faults(name: str, what: Range | Choices) -> Iterator[str]:
    group, *rest = name.split(".")
    if group not in RECIPE or not rest or rest[0] not in SETTINGS[group].model_fields:
        yield f"{name} is no part of a recipe, expected some of {', '.join(RECIPE)}"
    if isinstance(what, Choices):
        return
    if what.low > what.high:
        yield f"{name} has low {what.low:g} over high {what.high:g}"
    if what.log and what.low <= 0:
        yield f"{name} has log, and low {what.low:g}, expected one above 0"
    if what.log and what.step is not None:
        yield f"{name} has log and step, expected one of them"


def _find_refused(space: Space, given: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the groups say of drawn values, each beside the first ones of all others."""
    first = {name: _list_examples(what)[0] for name, what in space.items()}
    found: dict[str, None] = {}
    for name, what in space.items():
        group = name.split(".")[0]
        for value in _list_examples(what):
            whole = merge(given, nest({**first, name: value}))
            found |= dict.fromkeys(find_problems(group, SETTINGS[group], whole[group]))
    return list(found)


def _list_examples(what: Range | Choices) -> list[Any]:
    """Every choice; of numbers the ends, and one between."""
    if isinstance(what, Choices):
        return what.choices
    if _is_whole(what):
        return [int(what.low), int(what.high)]
    return [what.low, what.low + (what.step or (what.high - what.low) / 3), what.high]


def _is_whole(what: Range) -> bool:
    return all(float(value).is_integer() for value in (what.low, what.high, what.step or 0.5))
