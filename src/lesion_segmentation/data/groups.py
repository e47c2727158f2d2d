"""Groups of cases that never straddle a split: a patient, a lesion, near-duplicates."""

import pandas as pd


def join_near_duplicates(table: pd.DataFrame, near_duplicates: pd.DataFrame) -> pd.DataFrame:
    """Cases (indexed by case_id) whose groups are one where a picture of one looks like a picture of the other."""
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


def as_groups(table: pd.DataFrame) -> pd.DataFrame:
    """A row a group with its most frequent diagnosis; the cases themselves where each is one of its own."""
    if "group" not in table or table["group"].is_unique:
        return table
    return table.groupby("group")[["diagnosis"]].agg(lambda column: column.mode().iloc[0])


def members_of(table: pd.DataFrame, drawn: list[str]) -> list[str]:
    """The cases of the groups that were drawn."""
    if "group" not in table or table["group"].is_unique:
        return drawn
    return list(table.index[table["group"].isin(drawn)])
