import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion_segmentation.data.sources.ph2 import read_manifest
from lesion_segmentation.data.splits import SplitSettings, split_cases, split_hash
from lesion_segmentation.errors import InputError


@pytest.fixture(scope="module")
def ph2_cases() -> pd.DataFrame:
    """PH2's ids with diagnoses in PH2's proportions (not each case's own)."""
    ids = list(read_manifest().index)
    return pd.DataFrame({"case_id": ids, "diagnosis": ["common nevus", "atypical nevus"] * 80 + ["melanoma"] * 40})


def subsets(split: pd.DataFrame) -> dict[str, set[str]]:
    return {name: set(part["case_id"]) for name, part in split.groupby("subset")}


def test_stratified_keeps_the_proportions(ph2_cases):
    split = split_cases(ph2_cases, SplitSettings(protocol="stratified")).merge(ph2_cases)
    assert split["subset"].value_counts().to_dict() == {"train": 120, "test": 50, "validation": 30}
    melanomas = split[split["diagnosis"] == "melanoma"]["subset"].value_counts()
    assert melanomas.to_dict() == {"train": 24, "test": 10, "validation": 6}


@given(seed=st.integers(0, 1000))
def test_folds_test_each_case_once(ph2_cases, seed):
    folds = [split_cases(ph2_cases, SplitSettings(protocol="folds", fold=fold, seed=seed)) for fold in range(5)]
    tested = [case_id for split in folds for case_id in split.loc[split["subset"] == "test", "case_id"]]
    assert sorted(tested) == sorted(ph2_cases["case_id"])


def test_hash_names_the_assignment_and_not_the_order(ph2_cases):
    split = split_cases(ph2_cases, SplitSettings(protocol="stratified"))
    assert split_hash(split) == split_hash(split[::-1])
    assert split_hash(split) != split_hash(split_cases(ph2_cases, SplitSettings(protocol="stratified", seed=1)))


def test_impossible_splits_say_why(ph2_cases):
    with pytest.raises(InputError, match="nothing would be left for training"):
        split_cases(ph2_cases, SplitSettings(protocol="folds", validation_cases=160))
    with pytest.raises(InputError, match="have no diagnosis"):
        split_cases(ph2_cases.assign(diagnosis=""), SplitSettings(protocol="stratified"))


def test_protocols_nobody_knows_are_refused_by_name():
    with pytest.raises(ValueError, match=r"split\.protocol is 'none', expected one of: stratified, folds, overfit"):
        SplitSettings(protocol="none")
