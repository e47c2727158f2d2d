"""Scores of subgroups."""

import pandas as pd
import pytest

from lesion_segmentation.evaluation.subgroups import TOO_FEW, score_subgroups


def test_groups_of_at_least_eight_cases_are_scored():
    counts = {"nevus": TOO_FEW, "melanoma": TOO_FEW - 1}
    diagnoses = [name for name, count in counts.items() for _ in range(count)]
    ids = [f"{number}" for number in range(len(diagnoses))]
    dice = [0.8 + number / 100 for number in range(len(diagnoses))]
    metrics = pd.DataFrame({"subset": "test", "case_id": ids, "sample_id": ids, "dice": dice, "iou": 0.7})
    cases = pd.DataFrame({"case_id": ids, "diagnosis": diagnoses, "lesion_area": 0.2, "touches_border": False})
    groups = score_subgroups(metrics, cases).query("grouping == 'diagnosis'").set_index("group")
    assert groups["n"].to_dict() == counts
    assert groups.loc["nevus", "dice"] == pytest.approx(0.835)
    assert groups.loc["nevus", "dice_low"] < 0.835 < groups.loc["nevus", "dice_high"]
    assert groups.loc["melanoma", ["dice", "dice_low", "dice_high"]].isna().all()
    assert "annotation_style" not in set(score_subgroups(metrics, cases)["grouping"])
    styles = score_subgroups(metrics, cases.assign(annotation_style=["T1", *["T2"] * 14]))
    assert styles.query("grouping == 'annotation_style'").set_index("group")["n"].to_dict() == {"T1": 1, "T2": 14}
