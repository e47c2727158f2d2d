"""The paper's 50 test cases, and the dealing of its copies that leaks."""

from functools import partial

import numpy as np
import pandas as pd

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.splits import Protocol, SplitSettings, draw_validation_cases

_TEST_NUMBERS = (
    "004 008 018 021 022 024 031 035 041 042 044 048 050 058 061 078 085 092 101 118 132 133 143 149 152 162 164 207 "
    "211 254 278 285 312 347 368 369 371 372 376 378 382 388 402 404 406 407 411 413 423 434"
)
TEST_CASES = tuple(f"IMD{number}" for number in _TEST_NUMBERS.split())
"""scikit-learn's train_test_split(test_size=0.25, random_state=101) over PH2's 200 sorted ids, as the paper's code."""


def draw_test(table: pd.DataFrame, settings: SplitSettings) -> list[str]:
    """The paper's 50 test cases.

    Raises:
        InputError: Some of them are not among the cases.
    """
    missing = sorted(set(TEST_CASES) - set(table.index))
    if missing:
        raise InputError(
            f"split.protocol is {settings.protocol}, but {len(missing)} of its 50 test cases are not there "
            f"({', '.join(missing[:5])}, ...). Bring in the whole of PH2 (make ph2 FROM=...) "
            "or choose split.protocol=stratified."
        )
    return list(TEST_CASES)


def deal_samples(samples: pd.DataFrame) -> np.ndarray:
    """As the paper's code: a fifth of the 450 samples for validation, whatever case they show.

    Args:
        samples: sample rows with case_id and transform, in the order original, rotated, flipped.

    Returns:
        train or validation, (N,).

    Raises:
        InputError: There are other samples than each case with a rotated and a flipped copy.
    """
    from sklearn.model_selection import train_test_split

    found = list(dict.fromkeys(samples["transform"]))
    if found != ["original", "rotated", "flipped"]:
        raise InputError(
            f"split.protocol is paper_leaky, but augmentation.copies is {found[1:]}, expected [rotated, flipped]: the "
            "published split deals these copies. Use --env paper, which has them."
        )
    places = np.arange(len(samples))
    _, validation = train_test_split(places, test_size=0.20, random_state=101)
    return np.where(np.isin(places, validation), "validation", "train")


PAPER = Protocol(draw_test, partial(draw_validation_cases, stratify=False))
PAPER_LEAKY = Protocol(draw_test, lambda rest, settings: [], deal_samples)
