"""Cases that are reserved for release tests under every split protocol."""

from collections.abc import Callable, Collection

import pandas as pd

from lesion_segmentation.core.errors import InputError

RESERVED_CASES: dict[str, Callable[[], Collection[str]]] = {}
"""Name of a source to a function that lists its reserved cases. Other modules register theirs here."""


def check_reserved(table: pd.DataFrame, subset: pd.Series, protocol: str) -> None:
    """Refuse a split that uses reserved cases for training or validation.

    Args:
        table: The cases, indexed by case_id, with their source if it is known.
        subset: The subset of each case.
        protocol: The split protocol, for the message.

    Raises:
        InputError: A reserved case is not in the test set.
    """
    for source, list_reserved in RESERVED_CASES.items():
        used = subset[(subset != "test") & (table["source"] == source)] if "source" in table else subset[:0]
        reserved = sorted(set(used.index) & set(list_reserved())) if len(used) else []
        if reserved:
            raise InputError(
                f"split.protocol={protocol} would train or validate on {len(reserved)} cases of {source} that are "
                f"reserved for release tests, such as {reserved[0]}. Use split.protocol=isic2018, or leave them out in "
                "the catalog (leave_out, as conf/isic_and_ph2 does)."
            )
