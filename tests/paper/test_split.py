import pandas as pd
import pytest
from sklearn.model_selection import train_test_split

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.sources.ph2 import read_manifest
from lesion_segmentation.data.splits import SplitSettings, split_cases
from lesion_segmentation.paper.split import TEST_CASES


@pytest.fixture(scope="module")
def ph2_cases() -> pd.DataFrame:
    return pd.DataFrame({"case_id": list(read_manifest().index), "diagnosis": ""})


def subsets(split: pd.DataFrame) -> dict[str, set[str]]:
    return {name: set(part["case_id"]) for name, part in split.groupby("subset")}


def test_test_cases_equal_those_of_the_papers_code(ph2_cases):
    _, expected = train_test_split(sorted(ph2_cases["case_id"]), test_size=0.25, random_state=101)
    assert set(TEST_CASES) == set(expected)
    found = subsets(split_cases(ph2_cases, SplitSettings(protocol="paper")))
    assert found["test"] == set(expected)
    assert len(found["validation"]) == 30
    assert len(found["train"]) == 120


def test_protocol_without_validation_trains_on_all_150(ph2_cases):
    found = subsets(split_cases(ph2_cases, SplitSettings(protocol="paper", validation_cases=0)))
    assert {name: len(part) for name, part in found.items()} == {"train": 150, "test": 50}


def test_impossible_splits_are_refused(ph2_cases, cases):
    with pytest.raises(InputError, match="50 of its 50 test cases are missing"):
        split_cases(cases, SplitSettings(protocol="paper"))
    with pytest.raises(InputError, match="nothing would be left for training"):
        split_cases(ph2_cases, SplitSettings(protocol="paper", validation_cases=150))
