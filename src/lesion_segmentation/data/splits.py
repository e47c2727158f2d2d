"""Which case is for training, which for validation, which for the test: drawn by case, never by picture."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.parameter_model import ParameterModel, Seed
from lesion_segmentation.data.groups import as_groups, join_near_duplicates, members_of
from lesion_segmentation.data.reserved import require_reserved

logger = logging.getLogger(__name__)

DEVELOPMENT = "development"
"""The subset of all cases that are not for the test where samples, not cases, are dealt to training and validation."""
FOLDS = 5
OVERFIT_CASES = 4


class SplitSettings(ParameterModel):
    """The parameters `split`.

    Attributes:
        protocol: A key of PROTOCOLS. `stratified`: 60/15/25 percent by diagnosis. `folds`: the `fold`-th of five folds
            by diagnosis is the test set. `given`: by the column `subset` of the table. `overfit`: the first four cases
            for training, all others for the test, to see that a network can learn. `lesion_segmentation.paper` adds
            `paper` and `paper_leaky`, `lesion_project.pipelines` adds `isic2018`. It has no default here:
            conf/base chooses. Cases of one `group` (a patient, say) and near-duplicates stay together; where no case
            has a diagnosis, there are no strata.
        scored_source: Of data from several sources the one that validation and test cases are drawn from; all others are
            for training.
        validation_cases: Cases drawn for validation, where the protocol leaves their number open; 0 trains on all that
            are not test.
        fold: 0 to 4, under `folds`.
        seed: Of the draws.
    """

    protocol: str
    scored_source: str | None = None
    validation_cases: int = Field(30, ge=0, le=1_000_000)
    fold: int = Field(0, ge=0, lt=FOLDS)
    seed: Seed = 0

    @field_validator("protocol")
    @classmethod
    def _is_known(cls, protocol: str) -> str:
        if protocol not in PROTOCOLS:
            raise ValueError(f"split.protocol is {protocol!r}, expected one of: {', '.join(PROTOCOLS)}")
        return protocol


Draw = Callable[[pd.DataFrame, SplitSettings], list[str]]
"""From cases (indexed by case_id, sorted) some of their ids."""


@dataclass(frozen=True)
class Protocol:
    """How cases, or their samples, come into subsets.

    Attributes:
        draw_test: Of all cases those for the test.
        draw_validation: Of the others those for validation.
        deal_samples: Where samples, not cases, are dealt: from the sample table of the development cases to the subset
            of each sample, (N,) of train and validation. Copies of one case then fall into both, which leaks.
        draws: Cases are drawn, so that near-duplicates can be drawn together; where they are given, the leak guard
            refuses those that straddle.
    """

    draw_test: Draw
    draw_validation: Draw
    deal_samples: Callable[[pd.DataFrame], np.ndarray] | None = None
    draws: bool = True


def split_cases(
    cases: pd.DataFrame, settings: SplitSettings, near_duplicates: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Draw the subsets.

    Args:
        cases: case_id, diagnosis; group, subset and source where they are known.
        settings: How.
        near_duplicates: case_id, other_case_id and near_duplicate: these pairs stay together.

    Returns:
        case_id, subset (train, validation or test; development or test where samples are dealt), protocol; one row a
        case, with its source where that is known. Cases of other sources whose group was drawn from `scored_source` are
        left out.

    Raises:
        InputError: The protocol cannot be applied to these cases.
    """
    protocol = find_protocol(settings.protocol)
    table = cases.sort_values("case_id").set_index("case_id")
    if near_duplicates is not None and protocol.draws:
        table = join_near_duplicates(table, near_duplicates)
    own = _choose_source(table, settings, protocol)
    test = protocol.draw_test(own, settings)
    rest = own.drop(index=test)
    subset = pd.Series("train", index=table.index, name="subset")
    subset[test] = "test"
    if protocol.deal_samples is not None:
        subset[rest.index] = DEVELOPMENT
    else:
        subset[protocol.draw_validation(rest, settings)] = "validation"
    require_reserved(table, subset, settings.protocol)
    subset = subset.drop(index=_find_torn(table, own, subset))
    split = subset.reset_index().assign(protocol=settings.protocol)
    return split.assign(source=table.loc[subset.index, "source"].to_numpy()) if "source" in table else split


def find_protocol(name: str) -> Protocol:
    """By name.

    Raises:
        InputError: Nothing that was imported has made it known.
    """
    if name not in PROTOCOLS:
        raise InputError(
            f"The split protocol {name!r} is not known here, only {', '.join(PROTOCOLS)}. Import what adds it first "
            "(lesion_segmentation.paper adds the paper's)."
        )
    return PROTOCOLS[name]


def leaks(protocol: str) -> bool:
    """Whether training and validation share cases under this protocol."""
    return find_protocol(protocol).deal_samples is not None


def describe_protocol(protocol: str) -> str:
    """For titles: the split's protocol, and a warning where it leaks."""
    warning = ", A LEAK: copies of training cases are in validation" if leaks(protocol) else ""
    return f"split {protocol}{warning}"


def split_hash(split: pd.DataFrame) -> str:
    """A digest of who is where: equal where two runs trained, validated and tested on the same cases."""
    ordered = split.sort_values("case_id")
    return hashlib.sha256("\n".join(ordered["case_id"] + " " + ordered["subset"]).encode()).hexdigest()[:16]


def check_origin(guarded_samples: pd.DataFrame, split: pd.DataFrame) -> None:
    """Refuse samples that were guarded under another split than the one at hand."""
    guarded, here = guarded_samples["split_hash"].iloc[0], split_hash(split)
    if guarded != here:
        raise InputError(
            f"The samples were made and guarded under split {guarded}, but the split is {here} now: its test cases may "
            "be among them. Make them again: kedro run --pipelines=augmentation,training,reporting"
        )


def draw_validation_cases(rest: pd.DataFrame, settings: SplitSettings, stratify: bool = True) -> list[str]:
    """`settings.validation_cases` of the cases that are not for the test."""
    count = settings.validation_cases
    if count >= len(rest):
        raise InputError(
            f"split.validation_cases is {count}, but only {len(rest)} cases are not in the test set: "
            "nothing would be left for training. Choose a smaller number."
        )
    return _draw(rest, count, settings.seed, stratify)


def _choose_source(table: pd.DataFrame, settings: SplitSettings, protocol: Protocol) -> pd.DataFrame:
    source = settings.scored_source
    if source is None:
        return table
    if not protocol.draws:
        raise InputError(f"split.scored_source is {source}, but split.protocol={settings.protocol} draws nothing.")
    own = table[table["source"] == source]
    if own.empty:
        raise InputError(f"split.scored_source is {source}, expected one of: {', '.join(sorted(set(table['source'])))}")
    return own


def _find_torn(table: pd.DataFrame, own: pd.DataFrame, subset: pd.Series) -> list[str]:
    """The training cases of other sources that are of the group of a validation or test case."""
    if "group" not in table or len(own) == len(table):
        return []
    scored = set(table.loc[subset[subset != "train"].index, "group"])
    others = table.drop(index=own.index)
    torn = list(others.index[others["group"].isin(scored)])
    if torn:
        logger.warning("%d cases belong to what is scored and are left out of training: %s, ...", len(torn), torn[0])
    return torn


def _stratified_test(table: pd.DataFrame, settings: SplitSettings) -> list[str]:
    return _draw(table, round(0.25 * len(table)), settings.seed, stratify=True)


def _stratified_validation(rest: pd.DataFrame, settings: SplitSettings) -> list[str]:
    return _draw(rest, round(0.2 * len(rest)), settings.seed, stratify=True)


def _fold_test(table: pd.DataFrame, settings: SplitSettings) -> list[str]:
    from sklearn.model_selection import KFold, StratifiedKFold

    groups = as_groups(table)
    if len(groups) < FOLDS:
        raise InputError(f"{len(groups)} groups of cases cannot be {FOLDS} folds. Use more, or another split.protocol.")
    diagnoses = _diagnoses(groups, needed=FOLDS)
    kind = KFold if diagnoses is None else StratifiedKFold
    folds = kind(n_splits=FOLDS, shuffle=True, random_state=settings.seed).split(groups, diagnoses)
    _, test = list(folds)[settings.fold]
    return members_of(table, list(groups.index[test]))


def _given(subset: str) -> Draw:
    """Those that the table's own column says."""

    def draw(table: pd.DataFrame, settings: SplitSettings) -> list[str]:
        if "subset" not in table:
            raise InputError("split.protocol is given, but the table has no column subset (train, validation, test).")
        unknown = sorted(set(table["subset"]) - {"train", "validation", "test"})
        if unknown:
            raise InputError(
                f"The column subset has {', '.join(map(repr, unknown))}, expected train, validation, test."
            )
        if "group" in table:
            torn = table.groupby("group")["subset"].nunique()[lambda counts: counts > 1]
            if len(torn):
                raise InputError(f"The group {torn.index[0]} and {len(torn) - 1} more stand in more than one subset.")
        return list(table.index[table["subset"] == subset])

    return draw


def _overfit_test(table: pd.DataFrame, settings: SplitSettings) -> list[str]:
    return list(table.index[OVERFIT_CASES:])


def _draw(table: pd.DataFrame, count: int, seed: int, stratify: bool) -> list[str]:
    from sklearn.model_selection import train_test_split

    if count == 0:
        return []
    groups = as_groups(table)
    strata = _diagnoses(groups, needed=2) if stratify else None
    size = count if len(groups) == len(table) else max(1, round(count / len(table) * len(groups)))
    try:
        _, drawn = train_test_split(list(groups.index), test_size=size, random_state=seed, stratify=strata)
    except ValueError as error:
        raise InputError(
            f"{len(table)} cases cannot be split: {error}. Use more cases or another split.protocol."
        ) from error
    return members_of(table, list(drawn))


def _diagnoses(table: pd.DataFrame, needed: int) -> pd.Series | None:
    """What is stratified by; None where nothing is known of any case."""
    diagnoses = table["diagnosis"].fillna("")
    if (diagnoses == "").all():
        logger.warning("No case has a diagnosis: the split is drawn without strata.")
        return None
    if (diagnoses == "").any():
        raise InputError(
            f"{(diagnoses == '').sum()} cases have no diagnosis, which this split.protocol stratifies by. Bring in PH2 "
            "with its annotations (the official layout has PH2_dataset.txt) or choose another split.protocol."
        )
    rare = diagnoses.value_counts()[lambda counts: counts < needed]
    if len(rare):
        raise InputError(
            f"split by diagnosis: {', '.join(f'{name} has {count}' for name, count in rare.items())} "
            f"cases, at least {needed} are needed. Use more cases or another split.protocol."
        )
    return diagnoses


PROTOCOLS: dict[str, Protocol] = {
    "stratified": Protocol(_stratified_test, _stratified_validation),
    "folds": Protocol(_fold_test, draw_validation_cases),
    "given": Protocol(_given("test"), _given("validation"), draws=False),
    "overfit": Protocol(_overfit_test, lambda rest, settings: []),
}
"""By name; a room of its own may add to them, as lesion_segmentation.paper does."""
