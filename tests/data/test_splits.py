import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from lesion_segmentation.data.ph2 import read_manifest
from lesion_segmentation.data.splits import PAPER_TEST_CASES, SplitSettings, split_cases, split_hash
from lesion_segmentation.errors import InputError


@pytest.fixture(scope="module")
def ph2_cases() -> pd.DataFrame:
    """PH2's ids with diagnoses in PH2's proportions (not each case's own)."""
    ids = list(read_manifest().index)
    return pd.DataFrame({"case_id": ids, "diagnosis": ["common nevus", "atypical nevus"] * 80 + ["melanoma"] * 40})


def subsets(split: pd.DataFrame) -> dict[str, set[str]]:
    return {name: set(part["case_id"]) for name, part in split.groupby("subset")}


def test_paper_test_cases_are_those_of_the_papers_code(ph2_cases):
    _, expected = train_test_split(sorted(ph2_cases["case_id"]), test_size=0.25, random_state=101)
    assert set(PAPER_TEST_CASES) == set(expected)
    found = subsets(split_cases(ph2_cases, SplitSettings(protocol="paper")))
    assert found["test"] == set(expected)
    assert len(found["validation"]) == 30
    assert len(found["train"]) == 120


def test_paper_without_validation_trains_on_all_150(ph2_cases):
    found = subsets(split_cases(ph2_cases, SplitSettings(protocol="paper", validation_cases=0)))
    assert {name: len(part) for name, part in found.items()} == {"train": 150, "test": 50}


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
    split = split_cases(ph2_cases, SplitSettings())
    assert split_hash(split) == split_hash(split[::-1])
    assert split_hash(split) != split_hash(split_cases(ph2_cases, SplitSettings(seed=1)))


def test_impossible_splits_say_why(ph2_cases, cases):
    with pytest.raises(InputError, match="50 of its 50 test cases are not there"):
        split_cases(cases, SplitSettings(protocol="paper"))
    with pytest.raises(InputError, match="nothing would be left for training"):
        split_cases(ph2_cases, SplitSettings(validation_cases=150))
    with pytest.raises(InputError, match="have no diagnosis"):
        split_cases(ph2_cases.assign(diagnosis=""), SplitSettings(protocol="stratified"))
