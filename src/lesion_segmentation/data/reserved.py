"""Cases that are never trained or chosen on, whatever the protocol: they are for what is released."""

from collections.abc import Callable, Collection

import pandas as pd

from lesion_segmentation.core.errors import InputError

RESERVED_CASES: dict[str, Callable[[], Collection[str]]] = {}
"""Name of a source to what lists its cases that are held out; a data set's own room adds to it."""


def require_reserved(table: pd.DataFrame, subset: pd.Series, protocol: str) -> None:
    """Refuse to train or choose on them.

    Args:
        table: Cases by case_id, with their source where it is known.
        subset: Of each case.
        protocol: That put them there.

    Raises:
        InputError: Says how many there are.
    """
    for source, listed in RESERVED_CASES.items():
        seen = subset[(subset != "test") & (table["source"] == source)] if "source" in table else subset[:0]
        held = sorted(set(seen.index) & set(listed())) if len(seen) else []
        if held:
            raise InputError(
                f"split.protocol={protocol} would train or choose on {len(held)} cases of {source} that are held out "
                f"for networks that are released, such as {held[0]}. Use split.protocol=isic2018, or leave them out in "
                "the catalog (leave_out, as conf/isic_and_ph2 does)."
            )
