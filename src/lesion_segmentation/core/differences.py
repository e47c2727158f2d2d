"""Comparison of the settings that a file records with the current ones."""

from collections.abc import Mapping
from typing import Any

MISSING = "nothing"


def find_differences(
    earlier: Mapping[str, Any], now: Mapping[str, Any], defaults: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    """Return (name, earlier value, current value) of each setting that differs, sorted by name.

    Args:
        earlier: The settings that the file records.
        now: The current settings.
        defaults: The values of settings that one side lacks, such as a file older than the setting. Without a default,
            the value is MISSING.
    """
    names = sorted({*earlier, *now})
    rows = [
        (name, earlier.get(name, defaults.get(name, MISSING)), now.get(name, defaults.get(name, MISSING)))
        for name in names
    ]
    return [row for row in rows if row[1] != row[2]]
