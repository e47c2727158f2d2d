"""Which case is for training, which for validation, which for the test: drawn by case, never by picture."""

import hashlib
from collections.abc import Callable
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from lesion_segmentation.errors import InputError

_PAPER_TEST_NUMBERS = (
    "004 008 018 021 022 024 031 035 041 042 044 048 050 058 061 078 085 092 101 118 132 133 143 149 152 162 164 207 "
    "211 254 278 285 312 347 368 369 371 372 376 378 382 388 402 404 406 407 411 413 423 434"
)
PAPER_TEST_CASES = tuple(f"IMD{number}" for number in _PAPER_TEST_NUMBERS.split())
"""scikit-learn's train_test_split(test_size=0.25, random_state=101) over PH2's 200 sorted ids, as the paper's code."""

LEAKY_PROTOCOL = "paper_leaky"
DEVELOPMENT = "development"
"""The subset of all cases that are not for the test where samples, not cases, are dealt to training and validation."""
FOLDS = 5
OVERFIT_CASES = 4


class SplitSettings(BaseModel):
    """The parameters `split`.

    Attributes:
        protocol: `paper`: the paper's 50 test cases. `paper_leaky`: the same, but the paper's code deals the copies
            of the 150 others to training and validation without regard to their case, which leaks. `stratified`:
            60/15/25 percent by diagnosis. `folds`: the `fold`-th of five folds by diagnosis is the test set.
            `overfit`: the first four cases for training, all others for the test, to see that a network can learn.
        validation_cases: Cases drawn for validation under `paper` and `folds`; 0 trains on all that are not test.
        fold: 0 to 4, under `folds`.
        seed: Of the draws.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    protocol: Literal["paper", "paper_leaky", "stratified", "folds", "overfit"] = "paper"
    validation_cases: int = Field(30, ge=0)
    fold: int = Field(0, ge=0, lt=FOLDS)
    seed: int = 0


def split_cases(cases: pd.DataFrame, settings: SplitSettings) -> pd.DataFrame:
    """Draw the subsets.

    Returns:
        case_id, subset (train, validation or test; development or test under `paper_leaky`), protocol; one row a case.

    Raises:
        InputError: The protocol cannot be applied to these cases.
    """
    table = cases.sort_values("case_id").set_index("case_id")
    test = _TEST_CASES[settings.protocol](table, settings)
    rest = table.drop(index=test)
    subset = pd.Series("train", index=table.index, name="subset")
    subset[test] = "test"
    if settings.protocol == LEAKY_PROTOCOL:
        subset[rest.index] = DEVELOPMENT
    else:
        subset[_draw_validation(rest, settings)] = "validation"
    return subset.reset_index().assign(protocol=settings.protocol)


def _draw_validation(rest: pd.DataFrame, settings: SplitSettings) -> list[str]:
    count = {"stratified": round(0.2 * len(rest)), "overfit": 0}.get(settings.protocol, settings.validation_cases)
    if count >= len(rest):
        raise InputError(
            f"split.validation_cases is {count}, but only {len(rest)} cases are not in the test set: "
            "nothing would be left for training. Choose a smaller number."
        )
    return _draw(rest, count, settings.seed, stratify=settings.protocol != "paper")


def describe_protocol(protocol: str) -> str:
    """For titles: the split's protocol, and a warning where it leaks."""
    warning = ", A LEAK: copies of training cases are in validation" if protocol == LEAKY_PROTOCOL else ""
    return f"split {protocol}{warning}"


def split_hash(split: pd.DataFrame) -> str:
    """A digest of who is where: equal where two runs trained, validated and tested on the same cases."""
    ordered = split.sort_values("case_id")
    return hashlib.sha256("\n".join(ordered["case_id"] + " " + ordered["subset"]).encode()).hexdigest()[:16]


def _paper_test(table: pd.DataFrame, settings: SplitSettings) -> list[str]:
    missing = sorted(set(PAPER_TEST_CASES) - set(table.index))
    if missing:
        raise InputError(
            f"split.protocol is {settings.protocol}, but {len(missing)} of its 50 test cases are not there "
            f"({', '.join(missing[:5])}, ...). Bring in the whole of PH2 (make ph2 FROM=...) "
            "or choose split.protocol=stratified."
        )
    return list(PAPER_TEST_CASES)


def _stratified_test(table: pd.DataFrame, settings: SplitSettings) -> list[str]:
    return _draw(table, round(0.25 * len(table)), settings.seed, stratify=True)


def _fold_test(table: pd.DataFrame, settings: SplitSettings) -> list[str]:
    from sklearn.model_selection import StratifiedKFold

    diagnoses = _diagnoses(table, needed=FOLDS)
    folds = StratifiedKFold(n_splits=FOLDS, shuffle=True, random_state=settings.seed).split(table, diagnoses)
    _, test = list(folds)[settings.fold]
    return list(table.index[test])


def _overfit_test(table: pd.DataFrame, settings: SplitSettings) -> list[str]:
    return list(table.index[OVERFIT_CASES:])


_TEST_CASES: dict[str, Callable[[pd.DataFrame, SplitSettings], list[str]]] = {
    "paper": _paper_test,
    LEAKY_PROTOCOL: _paper_test,
    "stratified": _stratified_test,
    "folds": _fold_test,
    "overfit": _overfit_test,
}


def _draw(table: pd.DataFrame, count: int, seed: int, stratify: bool) -> list[str]:
    from sklearn.model_selection import train_test_split

    if count == 0:
        return []
    strata = _diagnoses(table, needed=2) if stratify else None
    try:
        _, drawn = train_test_split(list(table.index), test_size=count, random_state=seed, stratify=strata)
    except ValueError as error:
        raise InputError(
            f"{len(table)} cases cannot be split: {error}. Use more cases or another split.protocol."
        ) from error
    return list(drawn)


def _diagnoses(table: pd.DataFrame, needed: int) -> pd.Series:
    diagnoses = table["diagnosis"].fillna("")
    if (diagnoses == "").any():
        raise InputError(
            f"{(diagnoses == '').sum()} cases have no diagnosis, which this split.protocol stratifies by. Bring in PH2 "
            "with its annotations (the official layout has PH2_dataset.txt) or choose split.protocol=paper."
        )
    rare = diagnoses.value_counts()[lambda counts: counts < needed]
    if len(rare):
        raise InputError(
            f"split by diagnosis: {', '.join(f'{name} has {count}' for name, count in rare.items())} "
            f"cases, at least {needed} are needed. Use more cases or another split.protocol."
        )
    return diagnoses
