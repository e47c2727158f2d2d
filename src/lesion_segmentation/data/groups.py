"""Random selection of whole groups of cases, such as the images of a patient or near-duplicates."""

import logging

import pandas as pd

from lesion_segmentation.core.errors import InputError

logger = logging.getLogger(__name__)

_REMEDY = "Use more cases or another split.protocol."


def join_near_duplicates(table: pd.DataFrame, near_duplicates: pd.DataFrame) -> pd.DataFrame:
    """Return the cases (indexed by case_id) with the groups merged that contain near-duplicates of each other."""
    pairs = near_duplicates[near_duplicates["near_duplicate"].astype(bool)]
    if pairs.empty:
        return table
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    groups = table["group"] if "group" in table else pd.Series(table.index, index=table.index)
    numbers, names = pd.factorize(groups)
    number_of = pd.Series(numbers, index=table.index)
    rows, columns = number_of[pairs["case_id"]].to_numpy(), number_of[pairs["other_case_id"]].to_numpy()
    size = len(names)
    _, joined = connected_components(coo_array(([True] * len(rows), (rows, columns)), shape=(size, size)))
    first = pd.Series(names).groupby(joined).first()
    return table.assign(group=first[joined[numbers]].to_numpy())


def draw_cases(table: pd.DataFrame, count: int, seed: int, stratify: bool) -> list[str]:
    """Draw about `count` cases, or exactly that many if there are no groups.

    The table is indexed by case_id and has the columns diagnosis and, optionally, group. With `stratify`, the
    proportions of the diagnoses are kept.
    """
    from sklearn.model_selection import train_test_split

    if count == 0:
        return []
    groups = _list_groups(table)
    strata = _get_strata(groups, needed=2) if stratify else None
    size = count if len(groups) == len(table) else max(1, round(count / len(table) * len(groups)))
    try:
        _, chosen = train_test_split(list(groups.index), test_size=size, random_state=seed, stratify=strata)
    except ValueError as error:
        raise InputError(f"{len(table)} cases cannot be split: {error}. {_REMEDY}") from error
    return _list_members(table, list(chosen))


def draw_fold(table: pd.DataFrame, folds: int, fold: int, seed: int) -> list[str]:
    """Return the cases of one of `folds` folds, stratified by diagnosis."""
    from sklearn.model_selection import KFold, StratifiedKFold

    groups = _list_groups(table)
    if len(groups) < folds:
        raise InputError(f"There are {len(groups)} groups of cases, but {folds} folds. {_REMEDY}")
    strata = _get_strata(groups, needed=folds)
    splitter = KFold if strata is None else StratifiedKFold
    splits = splitter(n_splits=folds, shuffle=True, random_state=seed).split(groups, strata)
    _, test = list(splits)[fold]
    return _list_members(table, list(groups.index[test]))


def _list_groups(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per group with its most frequent diagnosis, or the cases if each is a group of its own."""
    if "group" not in table or table["group"].is_unique:
        return table
    return table.groupby("group")[["diagnosis"]].agg(lambda column: column.mode().iloc[0])


def _list_members(table: pd.DataFrame, chosen: list[str]) -> list[str]:
    """Return the cases of the chosen rows of `_list_groups`."""
    if "group" not in table or table["group"].is_unique:
        return chosen
    return list(table.index[table["group"].isin(chosen)])


def _get_strata(groups: pd.DataFrame, needed: int) -> pd.Series | None:
    """Return the diagnoses, each of which at least `needed` groups must have, or None if no case has a diagnosis."""
    diagnoses = groups["diagnosis"].fillna("")
    if (diagnoses == "").all():
        logger.warning("No case has a diagnosis, so the split is not stratified.")
        return None
    if (diagnoses == "").any():
        raise InputError(
            f"{(diagnoses == '').sum()} cases have no diagnosis, but this split.protocol stratifies by diagnosis. "
            "Import PH2 with its annotations (the official layout has PH2_dataset.txt) or choose another "
            "split.protocol."
        )
    rare = diagnoses.value_counts()[lambda counts: counts < needed]
    if len(rare):
        counts = ", ".join(f"{name}: {count}" for name, count in rare.items())
        raise InputError(
            f"Some diagnoses have too few cases to stratify by ({counts}); expected at least {needed} of each. "
            f"{_REMEDY}"
        )
    return diagnoses
