"""Tests that the tables of docs/results/reproduction.md agree with the files in results/ledger."""

import ledger
import marked_tables
import pandas as pd
import pytest


def test_document_contains_the_tables_built_from_the_files():
    text = ledger.DOCUMENT.read_text()
    assert marked_tables.rebuild(text, ledger.TABLES) == text
    assert all(f"<!-- table {name} -->" in text for name in ledger.TABLES)
    damaged = text.replace("| the paper | 93 |", "| the paper | 99 |")
    assert damaged != text
    assert marked_tables.rebuild(damaged, ledger.TABLES) == text


def test_each_run_has_the_scores_of_its_cases_and_its_curve():
    names = {path.stem for path in ledger.LEDGER.glob("*.csv")}
    assert ledger.FAITHFUL in names
    for folder in ("cases", "curves"):
        assert {path.stem for path in (ledger.LEDGER / folder).glob("*.csv")} == names
    for name in names:
        rows = pd.read_csv(ledger.LEDGER / f"{name}.csv").set_index(["subset", "average"])
        cases = pd.read_csv(ledger.LEDGER / "cases" / f"{name}.csv")
        assert rows.loc[("test", "per_image"), "dice"] == pytest.approx(
            cases.loc[cases["subset"] == "test", "dice"].mean(), abs=1e-5
        )


def test_collect_stores_a_finished_run(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "LEDGER", tmp_path)
    ledger.collect("demo", finished / "data" / "demo", "kedro run --env demo --params training.seed=0", "abc", "cpu")
    rows = pd.read_csv(tmp_path / "demo.csv")
    assert set(rows["average"]) == {"per_image", "pooled", "legacy"}
    assert set(rows["width"]) == {0.0625}
    assert set(rows["training_precision"]) == {"auto"}
    assert len(pd.read_csv(tmp_path / "curves" / "demo.csv")) == 2
    assert len(pd.read_csv(tmp_path / "cases" / "demo.csv")) == 3 + 5  # validation and test
