import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import binary_cross_entropy

from lesion_segmentation.data.splits import SplitSettings, split_cases
from lesion_segmentation.evaluation import score_case
from lesion_segmentation.evaluation.tables import compare_with_paper, score_cases, summarise_cases


@pytest.fixture(scope="module")
def split(cases) -> pd.DataFrame:
    return split_cases(cases, SplitSettings(protocol="stratified"))


@pytest.fixture(scope="module")
def probabilities(masks) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {case_id: np.clip(mask * 0.4 + generator.random(mask.shape) * 0.6, 0, 1) for case_id, mask in masks.items()}


@pytest.fixture(scope="module")
def case_metrics(probabilities, masks, cases, split) -> pd.DataFrame:
    return score_cases(probabilities, masks, cases, split, 0.5, "plain")


def test_each_case_has_its_scores(case_metrics, probabilities, masks, split):
    assert len(case_metrics) == 20
    assert list(case_metrics["subset"].unique()) == ["train", "validation", "test"]
    assert set(case_metrics["source"]) == {"synthetic"}
    row = case_metrics.set_index("case_id").loc["SYN004"]
    probability, mask = probabilities["SYN004"], masks["SYN004"].astype(bool)
    for name, score in score_case(probability > 0.5, mask).items():
        assert row[name] == score
    reference = binary_cross_entropy(torch.tensor(probability), torch.tensor(mask).double())
    assert row["loss"] == pytest.approx(float(reference), abs=1e-6)


def test_both_averages(case_metrics):
    table = summarise_cases(case_metrics).set_index(["subset", "average"])
    test = case_metrics[case_metrics["subset"] == "test"]
    assert table.loc[("test", "per_image"), "dice"] == pytest.approx(test["dice"].mean())
    tp, fp, fn = (test[name].sum() for name in ("tp", "fp", "fn"))
    assert table.loc[("test", "pooled"), "dice"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert table.loc[("test", "pooled"), "n"] == len(test)


def test_test_cases_without_a_map_are_left_out(probabilities, masks, cases, split):
    seen = set(split.loc[split["subset"] != "test", "case_id"])
    part = {case_id: value for case_id, value in probabilities.items() if case_id in seen}
    table = summarise_cases(score_cases(part, masks, cases, split, 0.5, "plain"))
    assert list(table["subset"].unique()) == ["train", "validation"]
    assert list(compare_with_paper(table)["subset"].unique()) == ["train", "validation"]


def test_undefined_scores_are_counted(case_metrics):
    empty = case_metrics.assign(tp=0, fp=0)
    assert (summarise_cases(empty)["n_undefined"] == summarise_cases(empty)["n"]).all()


def test_the_papers_rows_stand_below(case_metrics):
    both = compare_with_paper(summarise_cases(case_metrics))
    paper = both[both["source"] == "paper"].set_index("subset")
    assert paper.loc["test", ["accuracy", "iou", "dice"]].tolist() == [0.93, 0.92, 0.74]
    assert set(paper["average"]) == {"legacy"}
