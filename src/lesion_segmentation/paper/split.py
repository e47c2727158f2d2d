"""The paper's 50 test cases, and its assignment of copies to subsets, which leaks."""

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
"""Result of scikit-learn's train_test_split(test_size=0.25, random_state=101) on PH2's 200 sorted ids, as in the
paper's code."""


def select_test_cases(table: pd.DataFrame, settings: SplitSettings) -> list[str]:
    """Return the ids of the paper's 50 test cases, all of which the table must have."""
    missing = sorted(set(TEST_CASES) - set(table.index))
    if missing:
        raise InputError(
            f"split.protocol is {settings.protocol}, but {len(missing)} of its 50 test cases are missing "
            f"({', '.join(missing[:5])}, ...). Import the whole of PH2 (make ph2 FROM=...) "
            "or use split.protocol=stratified."
        )
    return list(TEST_CASES)


def assign_samples(samples: pd.DataFrame) -> np.ndarray:
    """Assign a fifth of the 450 samples to validation, regardless of their cases, as in the paper's code.

    The rows must be in the order original, rotated, flipped.
    """
    from sklearn.model_selection import train_test_split

    found = list(dict.fromkeys(samples["transform"]))
    if found != ["original", "rotated", "flipped"]:
        raise InputError(
            f"split.protocol is paper_leaky, but augmentation.copies is {found[1:]}, expected [rotated, flipped]. Use "
            "--env paper, which makes these copies."
        )
    positions = np.arange(len(samples))
    _, validation = train_test_split(positions, test_size=0.20, random_state=101)
    return np.where(np.isin(positions, validation), "validation", "train")


PAPER = Protocol(select_test_cases, partial(draw_validation_cases, stratify=False))
PAPER_LEAKY = Protocol(select_test_cases, lambda rest, settings: [], assign_samples)
