import pytest

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.annotations import HEADER, parse_annotations

ROW = "|| IMD425 ||                Melanoma ||   2 ||  1 |  AT |  T |  P |  A |  P ||       3  4  5  6 ||"


def test_codes_are_translated_to_words():
    row = parse_annotations(f"{HEADER}\n{ROW}\n\nLegends for 'Colors':\n1 - White;\n").iloc[0]
    assert dict(row) == {
        "case_id": "IMD425",
        "histological_diagnosis": "Melanoma",
        "diagnosis": "melanoma",
        "asymmetry": "symmetric in one axis",
        "pigment_network": "atypical",
        "dots_globules": "typical",
        "streaks": "present",
        "regression_areas": "absent",
        "blue_whitish_veil": "present",
        "colors": "light brown, dark brown, blue gray, black",
    }


def test_empty_cells_stay_empty():
    row = parse_annotations("|| IMD003 ||  ||  ||  |  |  |  |  |  ||  ||").iloc[0]
    assert row["case_id"] == "IMD003"
    assert set(row.drop("case_id")) == {""}


def test_all_problems_are_in_one_report():
    text = "\n".join([ROW, ROW, ROW.replace("IMD425", "IMD426").replace("||   2 ||", "||   7 ||"), "|| IMD427 || 3 ||"])
    with pytest.raises(InputError) as caught:
        parse_annotations(text)
    report = str(caught.value)
    assert "3 problems" in report
    assert "IMD425: it is listed twice" in report
    assert "IMD426: diagnosis is 7, expected one of 0, 1, 2" in report
    assert "IMD427" in report


def test_empty_last_cells_are_read_without_blanks():
    row = parse_annotations("|| IMD003 ||  || 2 || 1 | AT | T | P | A | P ||||").iloc[0]
    assert (row["blue_whitish_veil"], row["colors"]) == ("present", "")
