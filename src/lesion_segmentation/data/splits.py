"""Assignment of cases to the training, validation and test subsets by a split protocol."""

import hashlib
import logging
from collections.abc import Callable, Collection
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from lesion_segmentation.core.errors import InputError, pluralize
from lesion_segmentation.core.parameter_model import ParameterModel, Seed
from lesion_segmentation.data.groups import draw_cases, draw_fold, join_near_duplicates

logger = logging.getLogger(__name__)

RESERVED_CASES: dict[str, Callable[[], Collection[str]]] = {}
"""Source to a function that lists its cases that are reserved for release tests. Other modules register theirs here."""
DEVELOPMENT = "development"
"""Subset of all cases outside the test set, under protocols that assign samples to training and validation later."""
FOLDS = 5
OVERFIT_CASES = 4


class SplitSettings(ParameterModel):
    """The parameters `split`.

    Attributes:
        protocol: A key of PROTOCOLS. `stratified`: 60% training, 15% validation and 25% test, stratified by diagnosis.
            `folds`: the test set is one of five folds, stratified by diagnosis. `given`: the table has the subsets in
            its column `subset`. `overfit`: the first four cases are for training and all others for the test, to check
            that a network can learn.
            `lesion_segmentation.paper` adds `paper` and `paper_leaky`, and `lesion_project.pipelines` adds `isic2018`.
            Near-duplicates and the cases of one `group`, such as a patient, stay together. The split is not stratified
            if no case has a diagnosis.
        scored_source: The only source of validation and test cases, for data from several sources. Cases of all other
            sources are for training.
        validation_cases: The number of validation cases, for protocols that do not fix it. With 0, all cases except
            the test cases are for training.
        fold: The number of the test fold under `folds`, 0 to 4.
        seed: Seed of the random split.
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
"""Function that chooses case ids from a sorted table of cases, indexed by case_id."""


class Protocol(NamedTuple):
    """Rules of a split protocol.

    Attributes:
        draw_test: Chooses the test cases from all cases.
        draw_validation: Chooses the validation cases from the other cases.
        assign_samples: Maps the sample table of the development cases to the subset of each sample, (N,) of `train` and
            `validation`, for protocols that assign samples instead of cases. This leaks, since copies of one case fall
            into both subsets.
        is_given: The table defines the subsets, so near-duplicates are not kept together. The leak guard then refuses
            near-duplicates in different subsets.
    """

    draw_test: Draw
    draw_validation: Draw
    assign_samples: Callable[[pd.DataFrame], np.ndarray] | None = None
    is_given: bool = False


def split_cases(
    cases: pd.DataFrame, settings: SplitSettings, near_duplicates: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Assign each case to a subset.

    The cases have the columns case_id, diagnosis and, optionally, group, subset and source. Near-duplicates of each
    other, by the table of `list_near_duplicates`, stay together. A protocol that separates a group is refused.

    Returns:
        Columns case_id, subset, protocol and, if known, source and annotation_style, one row per case. The subset is
        train, validation or test. If the protocol assigns samples, it is development or test, and train for cases of
        sources other than `scored_source`. Cases of such sources that share a group with a scored case are dropped.
    """
    protocol = find_protocol(settings.protocol)
    table = cases.sort_values("case_id").set_index("case_id")
    if near_duplicates is not None and not protocol.is_given:
        table = join_near_duplicates(table, near_duplicates)
    own = _choose_source(table, settings, protocol)
    test = protocol.draw_test(own, settings)
    rest = own.drop(index=test)
    subset = pd.Series("train", index=table.index, name="subset")
    subset[test] = "test"
    if protocol.assign_samples is not None:
        subset[rest.index] = DEVELOPMENT
    else:
        subset[protocol.draw_validation(rest, settings)] = "validation"
    _check_reserved(table, subset, settings.protocol)
    subset = subset.drop(index=_find_shared_groups(table, own, subset))
    groups = cases.set_index("case_id").loc[subset.index].assign(subset=subset)
    if problems := _find_spread_groups(groups):
        raise InputError.from_problems(
            f"split.protocol={settings.protocol} puts cases of one group into different subsets",
            problems,
            "Choose another protocol, or correct the column group.",
        )
    known = [name for name in ("source", "annotation_style") if name in table]
    return subset.reset_index().assign(protocol=settings.protocol).join(table[known], on="case_id")


def find_protocol(name: str) -> Protocol:
    """Return the protocol with this name."""
    if name not in PROTOCOLS:
        raise InputError(
            f"Unknown split protocol {name!r}, expected one of: {', '.join(PROTOCOLS)}. Import the module that "
            "registers it first, such as lesion_segmentation.paper."
        )
    return PROTOCOLS[name]


def leaks(protocol: str) -> bool:
    """Return whether training and validation share cases under this protocol."""
    return find_protocol(protocol).assign_samples is not None


def describe_protocol(protocol: str) -> str:
    """Return the name of the protocol for titles, with a warning if it leaks."""
    warning = ", A LEAK: copies of training cases are in validation" if leaks(protocol) else ""
    return f"split {protocol}{warning}"


def split_hash(split: pd.DataFrame) -> str:
    """Return a hash of all cases and their subsets."""
    ordered = split.sort_values("case_id")
    return hashlib.sha256("\n".join(ordered["case_id"] + " " + ordered["subset"]).encode()).hexdigest()[:16]


def require_same_split(guarded_samples: pd.DataFrame, split: pd.DataFrame) -> None:
    """Check that the leak guard compared the samples with this split."""
    guarded, current = guarded_samples["split_hash"].iloc[0], split_hash(split)
    if guarded != current:
        raise InputError(
            f"The samples were checked under split {guarded}, but the current split is {current}, whose test cases may "
            "be among them. Make the samples again: kedro run --pipelines=augmentation,training,reporting"
        )


def draw_validation_cases(rest: pd.DataFrame, settings: SplitSettings, stratify: bool = True) -> list[str]:
    """Draw `settings.validation_cases` of the cases that are not in the test set."""
    count = settings.validation_cases
    if count >= len(rest):
        raise InputError(
            f"split.validation_cases is {count}, but the test set leaves only {pluralize(len(rest), 'case')}, so "
            "nothing would be left for training. Choose a smaller number."
        )
    return draw_cases(rest, count, settings.seed, stratify)


def _choose_source(table: pd.DataFrame, settings: SplitSettings, protocol: Protocol) -> pd.DataFrame:
    source = settings.scored_source
    if source is None:
        return table
    if protocol.is_given:
        raise InputError(
            f"split.scored_source is {source}, but under split.protocol={settings.protocol} the table defines the "
            "subsets. Remove one of the two."
        )
    own = table[table["source"] == source]
    if own.empty:
        raise InputError(f"split.scored_source is {source}, expected one of: {', '.join(sorted(set(table['source'])))}")
    return own


def _check_reserved(table: pd.DataFrame, subset: pd.Series, protocol: str) -> None:
    """Refuse a split that uses reserved cases for training or validation."""
    for source, list_reserved in RESERVED_CASES.items():
        used = subset[(subset != "test") & (table["source"] == source)] if "source" in table else subset[:0]
        reserved = sorted(set(used.index) & set(list_reserved())) if len(used) else []
        if reserved:
            raise InputError(
                f"split.protocol={protocol} would train or validate on {pluralize(len(reserved), 'case')} of {source} "
                f"reserved for release tests, such as {reserved[0]}. Use split.protocol=isic2018, or leave them out in "
                "the catalog (leave_out, as conf/isic_and_ph2 does)."
            )


def _find_shared_groups(table: pd.DataFrame, own: pd.DataFrame, subset: pd.Series) -> list[str]:
    """Return the training cases of other sources that share a group with a validation or test case."""
    if "group" not in table or len(own) == len(table):
        return []
    scored = set(table.loc[subset[subset != "train"].index, "group"])
    others = table.drop(index=own.index)
    shared = list(others.index[others["group"].isin(scored)])
    if shared:
        dropped = "Dropped %s because of a group shared with a validation or test case: %s"
        logger.warning(dropped, pluralize(len(shared), "training case"), ", ".join(shared))
    return shared


def _draw_share(share: float, table: pd.DataFrame, settings: SplitSettings) -> list[str]:
    return draw_cases(table, round(share * len(table)), settings.seed, stratify=True)


def find_subset_problems(table: pd.DataFrame) -> list[str]:
    """List what split.protocol=given refuses in the columns subset and group of a table indexed by case_id."""
    subsets, expected = table["subset"], ("train", "validation", "test")
    problems = []
    for value, wrong in subsets[~subsets.isin(expected)].groupby(subsets):
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        problems.append(f"{wrong.index[0]}{more}: the subset is {value!r}, expected {', '.join(expected)}")
    problems += [] if "train" in set(subsets) else ["no case has the subset train"]
    return problems + _find_spread_groups(table)


def _find_spread_groups(table: pd.DataFrame) -> list[str]:
    """Describe the groups with cases in different subsets."""
    if "group" not in table:
        return []
    found = table.groupby("group")["subset"].unique()
    return [f"group {name}: it is in {' and '.join(each)}" for name, each in found.items() if len(each) > 1]


def _read_subset(subset: str, table: pd.DataFrame, settings: SplitSettings) -> list[str]:
    """Return the cases whose column `subset` has this value."""
    if "subset" not in table:
        raise InputError(
            "split.protocol is 'given', but the table has no column subset. Add one with the values train, "
            "validation and test, or choose another split.protocol."
        )
    if problems := find_subset_problems(table):
        raise InputError.from_problems("The table cannot define the split", problems, "Correct the column subset.")
    return list(table.index[table["subset"] == subset])


PROTOCOLS: dict[str, Protocol] = {
    "stratified": Protocol(partial(_draw_share, 0.25), partial(_draw_share, 0.2)),
    "folds": Protocol(
        lambda table, settings: draw_fold(table, FOLDS, settings.fold, settings.seed), draw_validation_cases
    ),
    "given": Protocol(partial(_read_subset, "test"), partial(_read_subset, "validation"), is_given=True),
    "overfit": Protocol(lambda table, settings: list(table.index[OVERFIT_CASES:]), lambda rest, settings: []),
}
"""Split protocols by name. Other modules register theirs here, as lesion_segmentation.paper does."""
