"""What files say of how they were made, compared with how things stand now."""

from collections.abc import Mapping
from typing import Any

MISSING = "nothing"


def find_differences(
    earlier: Mapping[str, Any], now: Mapping[str, Any], defaults: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    """Name, earlier value and present value of everything that differs.

    Args:
        earlier: As a file has it; a key that it lacks, since it is older than the key, has its default.
        now: The same names today.
        defaults: What keys were before they could be set.
    """
    names = sorted({*earlier, *now})
    rows = [
        (name, earlier.get(name, defaults.get(name, MISSING)), now.get(name, defaults.get(name, MISSING)))
        for name in names
    ]
    return [row for row in rows if row[1] != row[2]]
