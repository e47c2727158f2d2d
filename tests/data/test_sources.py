"""Splits of data from several sources."""

import pandas as pd
import pytest

import lesion_project.pipelines  # noqa: F401 (it registers the reserved cases)
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.leakage import PAIR_COLUMNS
from lesion_segmentation.data.sources.isic2018 import RESERVED_LIST, read_list
from lesion_segmentation.data.splits import SplitSettings, split_cases


@pytest.fixture
def both() -> pd.DataFrame:
    ids = [f"P{number:03d}" for number in range(20)] + [f"I{number:03d}" for number in range(30)]
    table = pd.DataFrame({"case_id": ids, "diagnosis": "", "group": ids})
    return table.assign(source=["PH2"] * 20 + ["ISIC 2018"] * 30)


@pytest.mark.parametrize("fold", range(5))
def test_training_cases_that_share_a_group_with_scored_cases_are_dropped(both, fold, caplog):
    """They share a group by the table or as near-duplicates. All other cases keep their subset."""
    settings = SplitSettings(protocol="folds", fold=fold, validation_cases=4, scored_source="PH2")
    plain = split_cases(both, settings)
    assert plain.loc[plain["source"] == "ISIC 2018", "subset"].unique().tolist() == ["train"]
    both.loc[both["case_id"].isin(["P000", "I000"]), "group"] = "patient"
    near_duplicates = pd.DataFrame([("I001", "P001", 4, True), ("I002", "I003", 2, True)], columns=list(PAIR_COLUMNS))
    split = split_cases(both, settings, near_duplicates).set_index("case_id")["subset"]
    before = plain.set_index("case_id")["subset"]
    for ours, theirs in (("P000", "I000"), ("P001", "I001")):
        assert (theirs in split.index) == (split[ours] == "train")
    dropped = set(before.index) - set(split.index)
    assert dropped <= {"I000", "I001"}
    assert ("shared with a validation or test case" in caplog.text) == bool(dropped)
    assert {"I002", "I003"} <= set(split.index)


def test_scored_source_is_refused_with_given_split(both):
    settings = SplitSettings(protocol="given", scored_source="PH2")
    with pytest.raises(InputError, match=r"scored_source is PH2, but under split\.protocol=given the table defines"):
        split_cases(both.assign(subset="train"), settings)


@pytest.mark.parametrize("protocol", ["folds", "stratified", "given"])
def test_reserved_cases_in_training_or_validation_are_refused(both, protocol):
    reserved = read_list(RESERVED_LIST)
    cases = both.assign(subset=(["train", "validation", "test"] * 17)[:50])
    cases.loc[cases["case_id"] == "I000", "case_id"] = reserved[0]
    cases.loc[cases["case_id"] == "I001", "case_id"] = reserved[1]
    settings = [SplitSettings(protocol=protocol, fold=fold, validation_cases=4) for fold in range(5)]
    for each in settings[:3]:  # at least one of the two is not in the test set
        with pytest.raises(InputError, match=r"\d cases? of ISIC 2018 reserved for release tests"):
            split_cases(cases, each)
    tested = split_cases(cases, SplitSettings(protocol="isic2018", validation_cases=4))
    assert set(tested.loc[tested["subset"] == "test", "case_id"]) == set(reserved[:2])
