"""Search space of a sweep, which is validated before any work because an impossible trial would end the search."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lesion_project.experiments.trials import describe_changes
from lesion_project.parameters import SETTINGS
from lesion_project.tracking.description import merge, nest
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.parameter_model import find_problems
from lesion_segmentation.core.recorded_settings import rename_keys
from lesion_segmentation.training.search_space import Choices, Range, SweepSettings

RECIPE = ("image_size", "augmentation", "training")
"""Parameters that may be searched."""
COMMON_SETTINGS = "begun_with"
"""Attribute of a study with the settings that all of its trials share. Otherwise they would not be comparable."""
Space = Mapping[str, Range | Choices]


def suggest(trial: Any, name: str, domain: Range | Choices) -> Any:
    """Sample the value of a parameter for an Optuna trial."""
    if isinstance(domain, Choices):
        return trial.suggest_categorical(name, domain.choices)
    if _is_integer(domain):
        return trial.suggest_int(name, int(domain.low), int(domain.high), step=int(domain.step or 1))
    return trial.suggest_float(name, domain.low, domain.high, log=domain.log, step=domain.step)


def _describe_space(space: Space) -> dict[str, str]:
    """Describe what must not change within a study: names, kinds of numbers, and choices."""

    def describe(domain: Range | Choices) -> str:
        if isinstance(domain, Choices):
            return json.dumps(domain.choices)
        return "whole numbers" if _is_integer(domain) else "numbers"

    return {f"sweep.space.{name}": describe(domain) for name, domain in space.items()}


def require_same_settings(study: Any, common: Mapping[str, Any], sweep: SweepSettings) -> None:
    """Check that a study resumes with the settings it was started with. Ranges and number of trials may differ."""
    fixed = {name: value for name, value in common.items() if name not in sweep.space}
    now = {**fixed, **_describe_space(sweep.space), "sweep.objective": sweep.objective}
    earlier = study.user_attrs.get(COMMON_SETTINGS)
    if earlier is None:
        study.set_user_attr(COMMON_SETTINGS, now)
    elif changes := describe_changes(earlier, now):
        title = f"The study {sweep.study} was started with other settings"
        raise InputError.from_problems(title, changes, "Use the same settings, or name another study: sweep.study.")


def require_recipe(space: Space, given: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise an InputError unless a space has only valid parameters of a recipe. `given` has the values around it.

    Other parameters cannot be searched: a split or a score that is searched would be chosen, not measured.
    """
    if not space:
        raise InputError("sweep.space is empty. Add parameters such as training.learning_rate.")
    faults = {name: list(_find_faults(name, domain)) for name, domain in space.items()}
    sound = {name: domain for name, domain in space.items() if not faults[name]}
    problems = [fault for each in faults.values() for fault in each] + _find_invalid_values(sound, given)
    if problems:
        remedy = "Whole numbers need a step. conf/base/parameters_sweep.yml has an example."
        raise InputError.from_problems("sweep.space cannot be searched", problems, remedy)


def _find_faults(name: str, domain: Range | Choices) -> Iterator[str]:
    group, *rest = name.split(".")
    if (present := ".".join(rename_keys({name: None}))) != name:
        yield f"{name} was renamed. Use {present}."
    elif group not in RECIPE or not rest or rest[0] not in SETTINGS[group].model_fields:
        yield f"{name} is not part of a recipe, expected a parameter of {', '.join(RECIPE)}"
    if isinstance(domain, Choices):
        return
    if domain.low > domain.high:
        yield f"{name} has low {domain.low:g} above high {domain.high:g}"
    if domain.log and domain.low <= 0:
        yield f"{name} has log and low {domain.low:g}, expected low above 0"
    if domain.log and domain.step is not None:
        yield f"{name} has log and step, expected only one of them"


def _find_invalid_values(space: Space, given: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Validate example values of each parameter, combined with the first examples of all others."""
    first = {name: _list_examples(domain)[0] for name, domain in space.items()}
    problems: dict[str, None] = {}
    for name, domain in space.items():
        group = name.split(".")[0]
        for value in _list_examples(domain):
            combined = merge(given, nest({**first, name: value}))
            problems |= dict.fromkeys(find_problems(group, SETTINGS[group], combined[group]))
    return list(problems)


def _list_examples(domain: Range | Choices) -> list[Any]:
    """Return all choices, or both ends of a range and, for real numbers, one value in between."""
    if isinstance(domain, Choices):
        return domain.choices
    if _is_integer(domain):
        return [int(domain.low), int(domain.high)]
    return [domain.low, domain.low + (domain.step or (domain.high - domain.low) / 3), domain.high]


def _is_integer(domain: Range) -> bool:
    return all(float(value).is_integer() for value in (domain.low, domain.high, domain.step or 0.5))
