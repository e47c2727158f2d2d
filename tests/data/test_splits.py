from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.leakage import PAIR_COLUMNS
from lesion_segmentation.data.sources.ph2 import read_manifest
from lesion_segmentation.data.splits import PROTOCOLS, Protocol, SplitSettings, split_cases, split_hash


@pytest.fixture(scope="module")
def ph2_cases() -> pd.DataFrame:
    """Return PH2's case ids with diagnoses in PH2's proportions, but not those of the cases."""
    ids = list(read_manifest().index)
    return pd.DataFrame({"case_id": ids, "diagnosis": ["common nevus", "atypical nevus"] * 80 + ["melanoma"] * 40})


def subsets(split: pd.DataFrame) -> dict[str, set[str]]:
    return {name: set(part["case_id"]) for name, part in split.groupby("subset")}


def test_stratified_split_keeps_proportions_of_diagnoses(ph2_cases):
    split = split_cases(ph2_cases, SplitSettings(protocol="stratified")).merge(ph2_cases)
    assert split["subset"].value_counts().to_dict() == {"train": 120, "test": 50, "validation": 30}
    melanomas = split[split["diagnosis"] == "melanoma"]["subset"].value_counts()
    assert melanomas.to_dict() == {"train": 24, "test": 10, "validation": 6}


@settings(deadline=None)
@given(seed=st.integers(0, 1000))
def test_folds_test_each_case_once(ph2_cases, seed):
    folds = [split_cases(ph2_cases, SplitSettings(protocol="folds", fold=fold, seed=seed)) for fold in range(5)]
    tested = [case_id for split in folds for case_id in split.loc[split["subset"] == "test", "case_id"]]
    assert sorted(tested) == sorted(ph2_cases["case_id"])


def test_split_hash_depends_on_subsets_and_not_on_order(ph2_cases):
    split = split_cases(ph2_cases, SplitSettings(protocol="stratified"))
    assert split_hash(split) == split_hash(split[::-1])
    assert split_hash(split) != split_hash(split_cases(ph2_cases, SplitSettings(protocol="stratified", seed=1)))


def test_impossible_splits_are_refused_with_reason(ph2_cases):
    with pytest.raises(InputError, match="nothing would be left for training"):
        split_cases(ph2_cases, SplitSettings(protocol="folds", validation_cases=160))
    some = ph2_cases.assign(diagnosis=["", *ph2_cases["diagnosis"][1:]])
    with pytest.raises(InputError, match="1 of 200 cases or groups have no diagnosis, such as IMD002"):
        split_cases(some, SplitSettings(protocol="stratified"))


@pytest.mark.parametrize("protocol", ["stratified", "folds"])
def test_split_without_diagnoses_is_not_stratified(ph2_cases, protocol, caplog):
    split = split_cases(ph2_cases.assign(diagnosis=""), SplitSettings(protocol=protocol))
    assert split["subset"].value_counts()["test"] == {"stratified": 50, "folds": 40}[protocol]
    assert "the split is not stratified" in caplog.text


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=12, max_size=30),
    protocol=st.sampled_from(["stratified", "folds"]),
    seed=st.integers(0, 50),
)
def test_groups_stay_together(sizes, protocol, seed):
    groups = [f"patient {number}" for number, size in enumerate(sizes) for _ in range(size)]
    cases = pd.DataFrame({"case_id": [f"C{i:03d}" for i in range(len(groups))], "group": groups})
    cases["diagnosis"] = ""
    split = split_cases(cases, SplitSettings(protocol=protocol, validation_cases=3, seed=seed))
    joined = split.merge(cases, on="case_id")
    assert joined.groupby("group")["subset"].nunique().max() == 1
    assert {"train", "test"} <= set(joined["subset"])


def test_protocol_that_separates_a_group_is_refused(ph2_cases, monkeypatch):
    first, second = sorted(ph2_cases["case_id"])[:2]
    separating = Protocol(lambda table, settings: [first], lambda rest, settings: [])
    monkeypatch.setitem(PROTOCOLS, "separating", separating)
    grouped = ph2_cases.assign(group=ph2_cases["case_id"].replace(second, first))
    with pytest.raises(InputError, match=f"group {first}: it is in test and train"):
        split_cases(grouped, SplitSettings(protocol="separating"))


def test_groups_of_single_cases_change_no_split(ph2_cases):
    for protocol in ("stratified", "folds"):
        chosen = SplitSettings(protocol=protocol)
        alone = ph2_cases.assign(group=ph2_cases["case_id"])
        assert split_hash(split_cases(alone, chosen)) == split_hash(split_cases(ph2_cases, chosen))


def test_given_split_is_applied(ph2_cases):
    given_ = ["test"] * 20 + ["validation"] * 10 + ["train"] * (len(ph2_cases) - 30)
    split = split_cases(ph2_cases.assign(subset=given_), SplitSettings(protocol="given"))
    assert list(split.sort_values("case_id")["subset"]) == given_
    for wrong, message in (
        (ph2_cases, "has no column subset"),
        (ph2_cases.assign(subset="training"), "IMD002 and 199 more: the subset is 'training', expected"),
        (ph2_cases.assign(subset=given_, group="one"), "group one: it is in test and validation and train"),
    ):
        with pytest.raises(InputError, match=message):
            split_cases(wrong, SplitSettings(protocol="given"))


@pytest.mark.parametrize("protocol", ["stratified", "folds"])
def test_split_that_merged_near_duplicates_make_impossible_names_the_merge(protocol):
    ids = [f"C{number:02d}" for number in range(30)]
    cases = pd.DataFrame({"case_id": ids, "diagnosis": ["melanoma"] * 14 + ["nevus"] * 16, "group": ids})
    chain = [(one, other, 9, True) for one, other in pairwise(ids[:14])]
    settings_ = SplitSettings(protocol=protocol, validation_cases=3)
    split_cases(cases, settings_, pd.DataFrame(columns=list(PAIR_COLUMNS)))
    with pytest.raises(InputError) as caught:
        split_cases(cases, settings_, pd.DataFrame(chain, columns=list(PAIR_COLUMNS)))
    for words in ("groups of cases of each, but there is only 1 of melanoma", "melanoma 14 in 1, nevus 16 in 16",
                  "14 of 30 images are near-duplicates", "leak_guard.max_distance"):  # fmt: skip
        assert words in str(caught.value)


def test_unknown_protocols_are_refused():
    with pytest.raises(
        ValueError, match=r"split\.protocol is 'none', expected one of: stratified, folds, given, overfit"
    ):
        SplitSettings(protocol="none")
