import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lesion_segmentation.cli import main
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.evaluation.audit import audit_table
from lesion_segmentation.evaluation.score_bounds import AUDITED
from lesion_segmentation.evaluation.scores import COUNTS, count_pixels, score_counts


def audit(**cells: str) -> pd.Series:
    return audit_table(pd.DataFrame([{"name": "row", **dict.fromkeys(AUDITED, ""), **cells}])).iloc[0]


@pytest.mark.parametrize(
    ("dice", "iou", "precision", "recall", "accuracy"),
    [("74", "92", "89", "90", "93"), ("80.37", "93.61", "88.99", "92.13", "93.96")],
    ids=["the paper", "the notebook"],
)
def test_paper_rows_are_impossible_under_any_single_averaging(dice, iou, precision, recall, accuracy):
    row = audit(dice=dice, iou=iou, precision=precision, recall=recall, accuracy=accuracy, n="50")
    assert row["verdict"] == "impossible"
    assert "mean Dice >= mean IoU" in row["per_image"]
    assert "Dice = 2 IoU / (1 + IoU)" in row["pooled"]


def test_implied_dice_and_iou_of_paper_precision_and_recall():
    row = audit(precision="89", recall="90")
    assert (row["implied_dice"], row["implied_iou"]) == (pytest.approx(0.895, abs=5e-4), pytest.approx(0.810, abs=5e-4))
    assert row["verdict"] == "undecided"


pairs = st.lists(st.tuples(arrays(bool, (4, 5)), arrays(bool, (4, 5))), min_size=1, max_size=6)


@settings(max_examples=300, deadline=None)
@given(pairs, st.sampled_from([0, 1, 2, 4]), st.booleans(), st.booleans(), st.sets(st.sampled_from(AUDITED)))
def test_scores_of_real_masks_are_never_impossible(pairs, decimals, pooled, named, missing):
    """Both averages, any rounding, any missing scores, and with or without naming the averaging and n."""
    counts = {name: np.array([count_pixels(*pair)[name] for pair in pairs]) for name in COUNTS}
    if pooled:
        counts = {name: count.sum() for name, count in counts.items()}
    scores = {name: 100 * float(np.mean(score)) for name, score in score_counts(**counts).items()}
    cells = {name: "" if name in missing else f"{scores[name]:.{decimals}f}" for name in AUDITED}
    if named:
        cells |= {"averaging": "pooled" if pooled else "per_image", "n": str(len(pairs))}
    assert audit(**cells)["verdict"] != "impossible"


def test_rounding_is_allowed_for():
    """2 x 80.0 / 180.0 is 88.89, which may be printed as 88.9 or 89, but not as 88.8."""
    assert audit(dice="88.9", iou="80.0", averaging="pooled")["verdict"] == "possible"
    assert audit(dice="88.8", iou="80.0", averaging="pooled")["verdict"] == "impossible"
    assert audit(dice="88.8", iou="80.0", averaging="per_image")["verdict"] == "possible"
    assert audit(dice="89.0", iou="80.0", averaging="per_image")["verdict"] == "impossible"
    assert audit(dice="89", iou="80", averaging="pooled")["verdict"] == "possible"
    assert audit(dice="88.5", iou="79.6", averaging="pooled")["verdict"] == "impossible"
    assert audit(dice="88.9", iou="79.98", averaging="per_image")["verdict"] == "undecided"


def test_few_images_make_the_bounds_sharper():
    assert audit(dice="85", iou="80", averaging="per_image")["verdict"] == "possible"
    assert audit(dice="85", iou="80", averaging="per_image", n="1")["verdict"] == "impossible"
    # The least mean Dice of two images with a mean IoU of 80 is that of 100 and 60: (100 + 75) / 2.
    assert audit(dice="87.5", iou="80", averaging="per_image", n="2")["verdict"] == "possible"
    assert audit(dice="86", iou="80", averaging="per_image", n="2")["verdict"] == "impossible"


def test_accuracy_below_iou_is_impossible():
    assert audit(iou="90", accuracy="88")["verdict"] == "impossible"
    assert audit(precision="95", recall="95", accuracy="89", averaging="pooled")["verdict"] == "impossible"
    assert audit(precision="95", recall="95", accuracy="92", averaging="pooled")["verdict"] == "possible"


def test_common_bounds_hold_under_any_averaging():
    for cells in (
        {"precision": "95", "recall": "95", "accuracy": "80"},
        {"dice": "95", "accuracy": "80"},
        {"iou": "90", "precision": "80"},
        {"dice": "95", "recall": "85"},
    ):
        for averaging in ("pooled", "per_image"):
            assert audit(**cells, averaging=averaging)["verdict"] == "impossible", cells
        assert audit(**cells)["verdict"] in ("impossible", "undecided")


def test_mixture_of_averagings_is_undecided_unless_averaging_is_named():
    """Pooled precision and recall beside per-image Dice and IoU may all be right, although no single averaging fits."""
    mixed = {"precision": "90", "recall": "90", "dice": "75", "iou": "65"}
    assert audit(**mixed)["verdict"] == "undecided"
    assert audit(**mixed, averaging="per_image")["verdict"] == "impossible"
    assert audit(**mixed, n="1")["verdict"] == "impossible"


def test_fractions_and_percentages_are_distinguished():
    assert audit(dice="0.889", iou="0.800", averaging="pooled")["verdict"] == "possible"
    assert audit(dice="0.74", iou="0.92")["verdict"] == "impossible"


def test_all_mistakes_of_a_table_are_reported_together():
    rows = [
        {"name": "a", **dict.fromkeys(AUDITED, ""), "dice": "high"},
        {"name": "b", **dict.fromkeys(AUDITED, ""), "dice": "140", "n": "many", "averaging": "mean"},
    ]
    with pytest.raises(InputError) as caught:
        audit_table(pd.DataFrame(rows).fillna(""))
    assert "4 problems" in str(caught.value)
    with pytest.raises(InputError, match="n is '0'"):
        audit_table(pd.DataFrame([{"name": "a", **dict.fromkeys(AUDITED, ""), "dice": "90", "n": "0"}]))
    with pytest.raises(InputError, match="it has no rows"):
        audit_table(pd.DataFrame(columns=["name", *AUDITED]))
    assert audit(dice="88.9 %", iou="80.1 %", averaging="pooled")["verdict"] == "possible"
    with pytest.raises(InputError, match="its columns are name, F1, expected at least one of dice, iou"):
        audit_table(pd.DataFrame([{"name": "a", "F1": "90"}]))


def test_audit_needs_only_the_columns_that_it_can_use():
    few = audit_table(pd.DataFrame([{"dice": "74", "iou": "92"}, {"dice": "90", "iou": "n/a"}]))
    assert list(few["name"]) == ["row 1", "row 2"]
    assert list(few["verdict"]) == ["impossible", "undecided"]
    assert list(few["implied_dice"]) == [None, None]


@pytest.mark.parametrize("row", ["x,90,81,", "x,90", "x,90,81,,,"])
def test_ragged_row_is_refused_with_its_line(tmp_path, row):
    (tmp_path / "table.csv").write_text(f"name,dice,iou\nfine,90,81\n{row}\n")
    done = CliRunner().invoke(main, ["audit", str(tmp_path / "table.csv")])
    assert done.exit_code == 1
    assert f"line 3: the number of cells is {row.count(',') + 1}, expected 3 as in the header" in done.output


def test_audit_command_prints_markdown_and_names_columns_that_it_cannot_use(tmp_path):
    (tmp_path / "table.csv").write_text('Name;Dice;IoU;F1\n"a|b\nc";74;92;1\n')
    done = CliRunner().invoke(main, ["audit", str(tmp_path / "table.csv")])
    assert done.exit_code == 0, done.output
    assert "These columns are not used: F1." in done.output
    assert r"| a\|b c | impossible |" in done.output
