import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import binary_cross_entropy

from lesion_segmentation.data.samples import AugmentationSettings, list_scored, make_samples
from lesion_segmentation.data.splits import SplitSettings, split_cases, split_hash
from lesion_segmentation.evaluation import score_case
from lesion_segmentation.evaluation.scores import CASE_METRICS
from lesion_segmentation.evaluation.tables import (
    at_network_threshold,
    find_intervals,
    hash_mask,
    headline_subset,
    originals,
    pick_epochs,
    score_cases,
    summarize_cases,
)
from lesion_segmentation.paper import legacy_scores
from lesion_segmentation.paper.tables import compare_with_paper, summarize_legacy


@pytest.fixture(scope="module")
def split(cases) -> pd.DataFrame:
    return split_cases(cases, SplitSettings(protocol="stratified"))


@pytest.fixture(scope="module")
def scored(images, masks, split, cases) -> pd.DataFrame:
    samples, _, _ = make_samples(images, masks, split, AugmentationSettings(copies=("flipped",)))
    return list_scored(samples.assign(split_hash=split_hash(split)), split, cases)


@pytest.fixture(scope="module")
def probabilities(masks) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {case_id: np.clip(mask * 0.4 + generator.random(mask.shape) * 0.6, 0, 1) for case_id, mask in masks.items()}


@pytest.fixture(scope="module")
def case_metrics(probabilities, masks, scored) -> pd.DataFrame:
    return score_cases(probabilities, masks, scored, 0.5, "none")


@pytest.fixture(scope="module")
def enhanced(probabilities, masks, scored) -> pd.DataFrame:
    return score_cases(probabilities, masks, scored, 0.2, "none")


def test_case_metrics_have_the_scores_of_each_case(case_metrics, probabilities, masks, split):
    assert len(case_metrics) == 20
    assert list(case_metrics["subset"].unique()) == ["train", "validation", "test"]
    assert set(case_metrics["source"]) == {"synthetic"}
    row = case_metrics.set_index("case_id").loc["SYN004"]
    probability, mask = probabilities["SYN004"], masks["SYN004"].astype(bool)
    for name, score in score_case(probability > 0.5, mask).items():
        assert row[name] == score
    reference = binary_cross_entropy(torch.tensor(probability), torch.tensor(mask).double())
    assert row["loss"] == pytest.approx(float(reference), abs=1e-6)


def test_table_ii_has_both_averages_at_both_thresholds(case_metrics, enhanced):
    table = summarize_cases(case_metrics, enhanced).set_index(["subset", "average", "threshold"])
    assert len(table) == 3 * 2 * 2
    for metrics, threshold in ((case_metrics, 0.5), (enhanced, 0.2)):
        test = metrics[metrics["subset"] == "test"]
        assert table.loc[("test", "per_image", threshold), "dice"] == pytest.approx(test["dice"].mean())
        tp, fp, fn = (test[name].sum() for name in ("tp", "fp", "fn"))
        assert table.loc[("test", "pooled", threshold), "dice"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
        assert table.loc[("test", "pooled", threshold), "n"] == len(test)
    # A lower threshold can only add lesion.
    assert table.loc[("test", "pooled", 0.2), "recall"] >= table.loc[("test", "pooled", 0.5), "recall"]


def test_cases_without_a_map_are_not_scored(probabilities, masks, split, scored):
    seen = set(split.loc[split["subset"] != "test", "case_id"])
    part = {case_id: value for case_id, value in probabilities.items() if case_id in seen}
    metrics = score_cases(part, masks, scored, 0.5, "none")
    table = summarize_cases(metrics, metrics)
    assert list(table["subset"].unique()) == ["train", "validation"]
    both = compare_with_paper(table, summarize_legacy(part, masks, metrics))
    assert list(both["subset"].unique()) == ["train", "validation"]


def test_cases_with_undefined_scores_are_counted(case_metrics):
    empty = case_metrics.assign(tp=0, fp=0)
    table = summarize_cases(empty, empty)
    assert (table["n_undefined"] == table["n"]).all()


def test_paper_rows_are_appended_after_legacy_scores(case_metrics, enhanced, probabilities, masks):
    legacy = summarize_legacy(probabilities, masks, case_metrics)
    both = compare_with_paper(summarize_cases(case_metrics, enhanced), legacy)
    paper = both[both["source"] == "paper"].set_index("subset")
    assert paper.loc["test", ["accuracy", "iou", "dice"]].tolist() == [0.93, 0.92, 0.74]
    assert set(paper["protocol"]) == {"paper_leaky"}
    ours = both[(both["source"] == "synthetic") & (both["average"] == "legacy")].set_index("subset")
    test = case_metrics.loc[case_metrics["subset"] == "test", "case_id"]
    expected = legacy_scores(np.stack([probabilities[c] for c in test]), np.stack([masks[c] for c in test]))
    assert ours.loc["test", "iou"] == expected["iou"]


def test_first_every_tenth_and_last_epoch_are_picked():
    metrics = ("loss", "accuracy", "precision", "recall", "iou", "dice")
    history = pd.DataFrame({"epoch": range(1, 36), **{f"train_{name}": np.linspace(0, 1, 35) for name in metrics}})
    split = pd.DataFrame({"protocol": ["folds"]})
    without = pick_epochs(history, split)
    assert set(without["protocol"]) == {"folds"}
    assert list(without["epoch"]) == [1, 10, 20, 30, 35]
    assert set(without["subset"]) == {"train"}
    both = pick_epochs(history.assign(**{f"validation_{name}": 0.5 for name in metrics}), split)
    assert list(both["subset"].unique()) == ["validation", "train"]
    assert (both.loc[both["subset"] == "validation", "dice"] == 0.5).all()


def test_rows_are_selected_by_role_not_by_position(case_metrics, enhanced):
    shuffled = summarize_cases(case_metrics, enhanced).sample(frac=1, random_state=1)
    assert set(at_network_threshold(shuffled)["threshold"]) == {0.5}
    assert set(shuffled.loc[shuffled["threshold_role"] == "enhancement", "threshold"]) == {0.2}
    assert headline_subset(shuffled) == "test"
    assert headline_subset(shuffled[shuffled["subset"] != "test"]) == "validation"
    copies = case_metrics.assign(sample_id=case_metrics["case_id"] + "_flipped")
    assert len(originals(pd.concat([case_metrics, copies]))) == len(case_metrics)


def test_scores_are_numbers(case_metrics, enhanced):
    assert find_intervals(case_metrics, enhanced)["score"].dtype == float
    assert set(summarize_cases(case_metrics, enhanced)[["dice", "iou", "accuracy"]].dtypes) == {np.dtype(float)}


def test_every_score_has_an_interval(case_metrics, enhanced):
    table = summarize_cases(case_metrics, enhanced)
    intervals = find_intervals(case_metrics, enhanced)
    assert len(intervals) == 2 * 3 * (len(CASE_METRICS) + 6)
    wide = intervals.pivot_table(index=["subset", "average", "threshold"], columns="metric", values="score")
    for row in table.itertuples():
        assert wide.loc[(row.subset, row.average, row.threshold), "dice"] == pytest.approx(row.dice)
    assert (intervals["low"] <= intervals["score"]).all()
    assert (intervals["score"] <= intervals["high"]).all()
    test = case_metrics[case_metrics["subset"] == "test"]
    wrong = test["fp"] + test["fn"]
    share = (test["border_error_share"] * wrong).sum() / wrong.sum()
    assert wide.loc[("test", "pooled", 0.5), "border_error_share"] == pytest.approx(share)


def test_mask_hash_depends_on_pixels_and_shape():
    mask = np.zeros((4, 6), bool)
    other = mask.copy()
    other[1, 2] = True
    digests = {hash_mask(mask), hash_mask(other), hash_mask(mask.reshape(6, 4))}
    assert len(digests) == 3
    assert hash_mask(mask) == hash_mask(mask.copy())
