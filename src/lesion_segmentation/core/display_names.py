"""Words for data sources and settings in titles and summaries."""

import pandas as pd

_AUGMENTATIONS = {
    "none": "no test-time augmentation",
    "four": "test-time augmentation over four flips",
    "eight": "test-time augmentation over eight flips and rotations",
}


def name_source(table: pd.DataFrame) -> str:
    """Return the data sources of the rows, such as "PH2", "synthetic" or "ISIC 2018 and PH2"."""
    return " and ".join(sorted(table["source"].unique()))


def describe_augmentation(name: str) -> str:
    """Return the words for a value of `prediction.test_time_augmentation`."""
    return _AUGMENTATIONS.get(name, f"test-time augmentation: {name}")
