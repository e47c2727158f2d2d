"""Tests that the tables of docs/results.md and docs/recipes.md agree with the files in results."""

import benchmark_table
import marked_tables
import numpy as np
import pandas as pd
import pytest
import score_model

from lesion_segmentation.evaluation import score_counts


@pytest.mark.published
def test_documents_contain_the_tables_built_from_the_files():
    texts = [document.read_text() for document in benchmark_table.DOCUMENTS]
    assert [marked_tables.rebuild(text, benchmark_table.TABLES) for text in texts] == texts
    assert all(any(f"<!-- table {name} -->" in text for text in texts) for name in benchmark_table.TABLES)
    damaged = texts[0].replace("| imagenet | ImageNet |", "| imagenet | nothing |")
    assert damaged != texts[0]
    assert marked_tables.rebuild(damaged, benchmark_table.TABLES) == texts[0]


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


def test_experiments_are_scored_on_the_selection_folds_only():
    table = pd.read_csv(benchmark_table.RESULTS / "experiments.csv", keep_default_na=False)
    folder = benchmark_table.RESULTS / "experiments"
    assert {path.stem for path in folder.glob("*.csv")} == set(table["name"])
    assert set(table["against"]) <= {"", *table["name"]}
    for name in table["name"]:
        assert set(pd.read_csv(folder / f"{name}.csv")["fold"]) <= set(benchmark_table.SELECTION_FOLDS)


def test_otsu_separates_two_grey_levels():
    image = np.full((8, 8, 3), 180, dtype=np.uint8)
    image[2:5, 3:6] = 60
    assert np.array_equal(score_model.otsu(image) > 0.5, image[..., 0] == 60)


def test_mean_mask_averages_only_the_training_cases():
    masks = {name: np.full((2, 2), value) for name, value in (("a", 1), ("b", 0), ("c", 1))}
    assert score_model.mean_mask(masks, ["a", "b"]).mean() == 0.5


def test_score_model_refuses_networks_trained_on_scored_cases(finished, monkeypatch):
    root = finished / "data" / "demo"
    split = pd.read_csv(root / "05_model_input" / "split.csv").set_index("case_id")["subset"]
    held_out, trained = (list(split.index[split == subset]) for subset in ("test", "train"))
    assert set(score_model.predict_fold(root, held_out, root, "none")) == set(held_out)
    with pytest.raises(SystemExit, match=f"was trained on cases to be scored, such as {trained[0]}"):
        score_model.predict_fold(root, [*held_out, trained[0]], root, "none")
    monkeypatch.setattr(score_model, "SIZE", (64, 96))
    monkeypatch.setattr(score_model, "read_folds", lambda: dict.fromkeys(held_out, 3))
    probabilities = score_model.predict_fold(root, held_out, root, "four")
    table = score_model.score(probabilities, root, 0.5, keep_largest_component=True)
    assert list(table["case_id"]) == sorted(held_out)
    assert table["dice"].between(0, 1).all()
