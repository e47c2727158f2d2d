"""The tables of the ladder and of the tries are those that the committed files give."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesion_segmentation.evaluation.scores import score_counts

ROOT = Path(__file__).parents[2]


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "results" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ladder():
    return load("benchmark_table")


@pytest.fixture(scope="module")
def score_row():
    return load("score_model")


@pytest.mark.published
def test_every_table_is_made_from_the_files(ladder):
    texts = [document.read_text() for document in ladder.DOCUMENTS]
    assert [ladder.rebuild(text) for text in texts] == texts
    assert all(any(f"<!-- table {name} -->" in text for text in texts) for name in ladder.TABLES)
    damaged = texts[0].replace("| imagenet | ImageNet |", "| imagenet | nothing |")
    assert damaged != texts[0]
    assert ladder.rebuild(damaged) == texts[0]


def test_every_row_is_of_the_folds_and_its_scores_are_those_of_its_counts(ladder):
    folds = pd.read_csv(ladder.RESULTS / "folds.csv").set_index("case_id")["fold"]
    for name in [row.name + suffix for row in ladder.ROWS for suffix in ("", "_tta")]:
        cases = ladder.read_row(name)
        if cases is None:
            continue
        assert cases["fold"].equals(folds.loc[cases.index]), name
        assert len(cases) == folds.isin(cases["fold"]).sum(), name
        scores = score_counts(*(cases[count].to_numpy() for count in ("tp", "fp", "fn", "tn")))
        for score in ladder.SCORES:
            np.testing.assert_allclose(cases[score], scores[score], atol=1e-5, err_msg=name)
        assert (cases[["tp", "fp", "fn", "tn"]].sum(axis=1) == 192 * 256).all(), name


def test_every_try_has_its_cases_of_the_folds_for_choosing(ladder):
    table = pd.read_csv(ladder.RESULTS / "experiments.csv", keep_default_na=False)
    assert {path.stem for path in (ladder.RESULTS / "tries").glob("*.csv")} == set(table["name"])
    assert set(table["against"]) <= {"", *table["name"]}
    for name in table["name"]:
        assert set(pd.read_csv(ladder.RESULTS / "tries" / f"{name}.csv")["fold"]) <= set(ladder.CHOOSING)


def test_otsu_parts_two_greys_and_the_mean_mask_is_of_the_cases_that_are_named(score_row):
    picture = np.full((8, 8, 3), 180, dtype=np.uint8)
    picture[2:5, 3:6] = 60
    assert np.array_equal(score_row.otsu(picture) > 0.5, picture[..., 0] == 60)
    masks = {name: np.full((2, 2), value) for name, value in (("a", 1), ("b", 0), ("c", 1))}
    assert score_row.mean_mask(masks, ["a", "b"]).mean() == 0.5


def test_a_row_is_refused_whose_network_saw_a_case_that_is_scored(score_row, finished, monkeypatch):
    root = finished / "data" / "demo"
    split = pd.read_csv(root / "05_model_input" / "split.csv").set_index("case_id")["subset"]
    held_out, trained = (list(split.index[split == subset]) for subset in ("test", "train"))
    assert set(score_row.predict_fold(root, held_out, root, "none")) == set(held_out)
    with pytest.raises(SystemExit, match=trained[0]):
        score_row.predict_fold(root, [*held_out, trained[0]], root, "none")
    monkeypatch.setattr(score_row, "SIZE", (64, 96))
    monkeypatch.setattr(score_row, "read_folds", lambda: dict.fromkeys(held_out, 3))
    maps = score_row.predict_fold(root, held_out, root, "four")
    table = score_row.score(maps, root, 0.5, keep_largest_component=True)
    assert list(table["case_id"]) == sorted(held_out)
    assert table["dice"].between(0, 1).all()
