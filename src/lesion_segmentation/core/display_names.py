"""What tables are of, in words."""

import pandas as pd


def name_source(table: pd.DataFrame) -> str:
    """Where the cases of its rows come from: PH2, synthetic, ISIC 2018 and PH2."""
    return " and ".join(sorted(table["source"].unique()))
