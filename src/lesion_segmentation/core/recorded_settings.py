"""Settings that files such as checkpoints record: their former key names, and comparison with the current settings."""

from collections.abc import Mapping
from typing import Any

RENAMED_KEYS = {
    "begin_from": "init_from",  # renamed
    "begun_from": "initialized_from",  # renamed
    "drawn_from": "scored_source",  # renamed
    "inference": "prediction",  # renamed
    "licence": "license",  # renamed
    "on_the_fly": "online_augmentation",  # renamed
    "optimiser": "optimizer",  # renamed
    "outline": "annotation_style",  # renamed
    "outlines": "annotation_styles",  # renamed
    "seen_per_epoch": "source_rates",  # renamed
    "single_lesion": "keep_largest_component",  # renamed
}
"""Former name to present name, of metadata in format versions up to 4 and of parameters."""

RENAMED_VALUES = {"standardised": "standardized"}
MISSING = "nothing"


def rename_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata with the present names of its keys, and of those in its mapping `options`.

    Keys may be dotted, such as `training.optimizer`. Each part is renamed.
    """
    present = {}
    for key, value in values.items():
        parts = key.split(".")
        if parts[-1] == "options" and isinstance(value, Mapping):
            value = rename_keys(value)
        elif isinstance(value, str):
            value = RENAMED_VALUES.get(value, value)
        present[".".join(RENAMED_KEYS.get(part, part) for part in parts)] = value
    return present


def find_differences(
    earlier: Mapping[str, Any], now: Mapping[str, Any], defaults: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    """Return (name, earlier value, current value) of each setting that differs, sorted by name.

    If one side lacks a setting, as older files do, its value is taken from `defaults`, else it is MISSING.
    """
    names = sorted({*earlier, *now})
    assumed = {**dict.fromkeys(names, MISSING), **defaults}
    before, after = {**assumed, **earlier}, {**assumed, **now}
    return [(name, before[name], after[name]) for name in names if before[name] != after[name]]
