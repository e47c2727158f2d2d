"""Agreement of several annotators."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score

from lesion_segmentation.data.sources import synthetic
from lesion_segmentation.evaluation.annotators import score_annotators

IDS = synthetic.case_ids(6)


@pytest.fixture(scope="module")
def truth():
    return {case_id: synthetic.synthesize_case(number).mask for number, case_id in enumerate(IDS, start=1)}


@pytest.fixture(scope="module")
def annotated(truth):
    outlined = {case_id: synthetic.annotate(mask) for case_id, mask in truth.items()}
    return {f"{case_id}/{name}": mask for case_id, masks in outlined.items() for name, mask in masks.items()}


@pytest.fixture
def metrics():
    subset = ["validation", *["test"] * 5]
    return pd.DataFrame({"subset": subset, "case_id": IDS, "sample_id": IDS, "dice": 0.5, "kappa": 0.4})


def test_synthetic_annotators_have_their_styles(truth):
    """The borders of two are 5 pixels off, which 4 or 5 steps of a dilation by a cross bound for any shape."""
    from scipy.ndimage import binary_dilation, binary_erosion

    for mask in truth.values():
        masks = synthetic.annotate(mask)
        assert (masks["shrunk"] <= mask).all()
        assert (mask <= masks["grown"]).all()
        assert (masks["grown"] <= binary_dilation(mask, np.ones((3, 3)), 5)).all()
        assert (binary_dilation(mask, iterations=5) <= masks["grown"]).all()
        assert (masks["shrunk"] <= binary_erosion(mask, iterations=5, border_value=1)).all()
        assert abs(int(masks["smoothed"].sum()) - int(mask.sum())) < 0.1 * mask.sum()


def test_table_recovers_the_agreement_of_synthetic_annotators(annotated, truth, metrics):
    table = score_annotators(truth, annotated, metrics).set_index(["first", "second"])
    assert list(table.index) == [
        ("grown", "shrunk"), ("grown", "smoothed"), ("shrunk", "smoothed"), ("prediction", "grown"),
        ("prediction", "shrunk"), ("prediction", "smoothed"), ("prediction", "consensus"),
    ]  # fmt: skip
    assert set(table["subset"]) == {"test"}
    assert set(table["n"]) == {5}
    for (first, second), row in table.iloc[:6].iterrows():
        pairs = [
            (truth[case_id] if first == "prediction" else annotated[f"{case_id}/{first}"],
             annotated[f"{case_id}/{second}"])
            for case_id in IDS[1:]
        ]  # fmt: skip
        assert row["dice"] == pytest.approx(np.mean([f1_score(a.ravel(), b.ravel()) for a, b in pairs]))
        assert row["kappa"] == pytest.approx(np.mean([cohen_kappa_score(a.ravel(), b.ravel()) for a, b in pairs]))
        assert row["dice_low"] < row["dice"] < row["dice_high"]
    assert table["dice"].iloc[:3].idxmin() == ("grown", "shrunk")  # both are equally far from the truth, on two sides
    assert table["dice"].iloc[3:6].idxmax() == ("prediction", "smoothed")
    assert table.loc[("prediction", "consensus"), ["dice", "kappa"]].tolist() == [0.5, 0.4]


def test_annotators_without_shared_cases_have_no_agreement(annotated, truth, metrics):
    own = {name: mask for name, mask in annotated.items() if name in (f"{IDS[1]}/grown", f"{IDS[2]}/shrunk")}
    table = score_annotators(truth, own, metrics)
    assert table["n"].tolist() == [0, 1, 1, 5]
    assert table.loc[0, ["dice", "dice_low", "kappa"]].isna().all()
    assert np.isnan(table.loc[1, "dice_low"])


def test_table_is_empty_for_one_mask_per_case(truth, metrics):
    table = score_annotators(truth, {}, metrics)
    assert table.empty
    assert {"first", "second", "n", "dice", "kappa_high"} <= set(table)
