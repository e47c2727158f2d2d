"""Random selection of whole groups of cases, such as the images of a patient or near-duplicates."""

import logging

import pandas as pd

from lesion_segmentation.core.errors import InputError, pluralize

logger = logging.getLogger(__name__)


def join_near_duplicates(table: pd.DataFrame, near_duplicates: pd.DataFrame) -> pd.DataFrame:
    """Return the cases (indexed by case_id) with the groups merged that contain near-duplicates of each other.

    The new column near_duplicate says which cases have one.
    """
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
    paired = table.index.isin(pairs[["case_id", "other_case_id"]].to_numpy().ravel())
    return table.assign(group=first[joined[numbers]].to_numpy(), near_duplicate=paired)


def draw_cases(table: pd.DataFrame, count: int, seed: int, stratify: bool) -> list[str]:
    """Draw about `count` cases, or exactly that many if there are no groups.

    The table is indexed by case_id and has the columns diagnosis and, optionally, group. With `stratify`, the
    proportions of the diagnoses are kept.
    """
    from sklearn.model_selection import train_test_split

    if count == 0:
        return []
    groups = _list_groups(table)
    strata = _get_strata(table, needed=2) if stratify else None
    size = count if len(groups) == len(table) else max(1, round(count / len(table) * len(groups)))
    try:
        _, chosen = train_test_split(list(groups.index), test_size=size, random_state=seed, stratify=strata)
    except ValueError as error:
        raise InputError(f"{len(table)} cases cannot be split: {error}. {_explain_groups(table)}") from error
    return _list_members(table, list(chosen))


def draw_fold(table: pd.DataFrame, folds: int, fold: int, seed: int) -> list[str]:
    """Return the cases of one of `folds` folds, stratified by diagnosis."""
    from sklearn.model_selection import KFold, StratifiedKFold

    groups = _list_groups(table)
    if len(groups) < folds:
        found = pluralize(len(groups), "group")
        raise InputError(f"The cases form {found}, too few for {folds} folds. {_explain_groups(table)}")
    strata = _get_strata(table, needed=folds)
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


def _get_strata(table: pd.DataFrame, needed: int) -> pd.Series | None:
    """Return the diagnoses, each of which at least `needed` groups must have, or None if no case has a diagnosis."""
    diagnoses = _list_groups(table)["diagnosis"].fillna("")
    if (diagnoses == "").all():
        logger.warning("No case has a diagnosis, so the split is not stratified.")
        return None
    if (diagnoses == "").any():
        raise InputError(
            f"{(diagnoses == '').sum()} of {len(diagnoses)} cases or groups have no diagnosis, such as "
            f"{diagnoses.index[diagnoses == ''][0]}, but this split.protocol stratifies by diagnosis. Complete the "
            "diagnoses (those of PH2 are in PH2_dataset.txt of its official layout) or choose another split.protocol."
        )
    rare = diagnoses.value_counts()[lambda counts: counts < needed]
    if len(rare):
        kind = "cases" if len(diagnoses) == len(table) else "groups of cases"
        raise InputError(
            f"The split is stratified by diagnosis and needs at least {needed} {kind} of each, but there is only "
            f"{', '.join(f'{count} of {name}' for name, count in rare.items())}. {_explain_groups(table)}"
        )
    return diagnoses


def _explain_groups(table: pd.DataFrame) -> str:
    """Return the number of groups of each diagnosis, why they are few, and how to have more."""
    remedy = "Use more cases or another split.protocol."
    if "group" not in table or table["group"].is_unique:
        return remedy
    found = table.groupby("diagnosis")["group"].agg(["size", "nunique"])
    counts = ", ".join(f"{name or 'none'} {size} in {groups}" for name, size, groups in found.itertuples())
    text = f"All cases of a group are assigned to one subset (cases and groups of each diagnosis: {counts}). "
    if "near_duplicate" in table:
        text += f"{table['near_duplicate'].sum()} of {len(table)} images are near-duplicates of others, which merges "
        text += "their groups. A smaller leak_guard.max_distance merges fewer. "
    return text + remedy
