"""Tests that the pages of docs/results, the summaries and the forest plot agree with the files in results."""

import re

import annotation_styles
import benchmark_table
import diagnosis_table
import forest_plot
import marked_tables
import numpy as np
import pandas as pd
import pytest
import score_model
import speed_tables

from lesion_segmentation.evaluation import score_counts


@pytest.mark.parametrize(
    "module",
    [pytest.param(annotation_styles, marks=pytest.mark.published), benchmark_table, diagnosis_table, speed_tables],
)
def test_documents_contain_the_tables_built_from_the_files(module):
    text = module.DOCUMENT.read_text()
    assert marked_tables.rebuild(text, module.TABLES) == text
    assert set(re.findall(r"<!-- table (\w+) -->", text)) == set(module.TABLES)


def test_rebuild_replaces_a_damaged_table():
    text = benchmark_table.DOCUMENT.read_text()
    damaged = text.replace("| imagenet | Lite2 U-Net |", "| imagenet | none |")
    assert damaged != text
    assert marked_tables.rebuild(damaged, benchmark_table.TABLES) == text


@pytest.mark.published
@pytest.mark.parametrize("name", benchmark_table.SUMMARIES)
def test_summaries_follow_from_the_scores_of_each_case(name):
    made = benchmark_table.SUMMARIES[name]()
    pd.testing.assert_frame_equal(made, benchmark_table.read_summary(name), check_dtype=False, rtol=0, atol=1e-6)


def test_scores_of_every_model_follow_from_its_counts_on_the_published_folds():
    folds = pd.read_csv(benchmark_table.RESULTS / "folds.csv").set_index("case_id")["fold"]
    for name in [model.name + suffix for model in benchmark_table.MODELS for suffix in benchmark_table.FLIPS]:
        cases = benchmark_table.read_scores(name)
        if cases is None:
            continue
        assert cases["fold"].equals(folds.loc[cases.index]), name
        assert len(cases) == folds.isin(cases["fold"]).sum(), name
        scores = score_counts(*(cases[count].to_numpy() for count in ("tp", "fp", "fn", "tn")))
        for score in benchmark_table.SCORES:
            np.testing.assert_allclose(cases[score], scores[score], atol=1e-5, err_msg=name)
        assert (cases[["tp", "fp", "fn", "tn"]].sum(axis=1) == 192 * 256).all(), name


def test_every_file_of_scores_has_a_run():
    runs = set(pd.read_csv(benchmark_table.RESULTS / "runs.csv")["model"])
    files = {re.sub("(_all_parts)?(_tta)?$", "", path.stem) for path in benchmark_table.CASES.glob("*.csv")}
    assert files <= runs
    assert {model.name for model in benchmark_table.MODELS} <= runs


def test_measurements_have_a_value_and_a_topic():
    for path in speed_tables.MEASUREMENTS.glob("*.csv"):
        table = pd.read_csv(path)
        assert len(table) > 0, path
        if "topic" in table:
            assert table[["topic", "subject", "quantity", "value"]].notna().all(axis=None), path
            assert pd.to_numeric(table["value"]).notna().all(), path


def test_experiments_are_scored_on_the_selection_folds_only():
    table = pd.read_csv(benchmark_table.RESULTS / "experiments.csv", keep_default_na=False)
    folder = benchmark_table.RESULTS / "experiments"
    assert {path.stem for path in folder.glob("*.csv")} == set(table["name"])
    assert set(table["against"]) <= {"", *table["name"]}
    for name in table["name"]:
        assert set(pd.read_csv(folder / f"{name}.csv")["fold"]) <= set(benchmark_table.SELECTION_FOLDS)


def test_forest_plot_shows_every_network_and_recipe():
    folds, paper = forest_plot.draw().axes
    models = [model for model in benchmark_table.MODELS if model.name not in forest_plot.BASELINES]
    assert [label.get_text() for label in folds.get_yticklabels()] == [f"{m.description} ({m.name})" for m in models]
    assert len(paper.get_yticklabels()) == len(benchmark_table.RECIPES)
    # One interval per model for the held-out cases, and one more if all 200 cases were scored.
    assert len(folds.containers) == 2 * len(models) - 5
    row = benchmark_table.find_rows(benchmark_table.read_summary("models"), benchmark_table.RECIPES[0].name)["paper"]
    assert paper.containers[0].lines[0].get_xdata()[0] == pytest.approx(100 * row["dice"])


def test_otsu_separates_two_grey_levels():
    image = np.full((8, 8, 3), 180, dtype=np.uint8)
    image[2:5, 3:6] = 60
    assert np.array_equal(score_model.otsu(image) > 0.5, image[..., 0] == 60)


def test_mean_mask_averages_only_the_training_cases():
    masks = {name: np.full((2, 2), value) for name, value in (("a", 1), ("b", 0), ("c", 1))}
    assert score_model.mean_mask(masks, ["a", "b"]).mean() == 0.5


def test_score_model_predicts_each_fold_with_its_own_network_and_images(tmp_path, monkeypatch):
    for fold in ("fold_0", "fold_2"):
        (tmp_path / "run" / fold).mkdir(parents=True)
    monkeypatch.setattr(score_model, "read_folds", lambda: {"a": 0, "b": 2, "c": 2, "d": 1})
    monkeypatch.setattr(score_model, "predict_fold", lambda root, cases, data: dict.fromkeys(cases, (root, data)))
    first, third = tmp_path / "run" / "fold_0", tmp_path / "run" / "fold_2"
    found = score_model.predict_root(tmp_path / "run", tmp_path / "cases")
    assert found == {"a": (first, first), "b": (third, third), "c": (third, third)}
    (tmp_path / "run" / "06_models").mkdir()
    assert set(score_model.predict_root(tmp_path / "run", tmp_path / "cases").values()) == {
        (tmp_path / "run", tmp_path / "cases")
    }


def test_score_model_refuses_networks_trained_on_scored_cases(finished, monkeypatch):
    root = finished / "data" / "demo"
    split = pd.read_csv(root / "05_model_input" / "split.csv").set_index("case_id")["subset"]
    held_out, trained = (list(split.index[split == subset]) for subset in ("test", "train"))
    assert set(score_model.predict_fold(root, held_out, root)) == set(held_out)
    with pytest.raises(SystemExit, match=f"was trained on cases to be scored, such as {trained[0]}"):
        score_model.predict_fold(root, [*held_out, trained[0]], root)
    monkeypatch.setattr(score_model, "SIZE", (64, 96))
    monkeypatch.setattr(score_model, "read_folds", lambda: dict.fromkeys(held_out, 3))
    probabilities = score_model.predict_fold(root, held_out, root, test_time_augmentation="four")
    table = score_model.score(probabilities, root, 0.5, keep_largest_component=True)
    assert list(table["case_id"]) == sorted(held_out)
    assert table["dice"].between(0, 1).all()
