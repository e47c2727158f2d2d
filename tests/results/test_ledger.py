"""The tables of docs/reproduction.md are those that the committed files give."""

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ledger():
    spec = importlib.util.spec_from_file_location("ledger", ROOT / "results" / "ledger.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.published
def test_every_table_of_the_document_is_made_from_the_files(ledger):
    text = ledger.DOCUMENT.read_text()
    assert ledger.rebuild(text) == text
    assert all(f"<!-- table {name} -->" in text for name in ledger.TABLES)
    assert ledger.rebuild(text.replace("| the paper | 93 |", "| the paper | 99 |")) == text


def test_each_run_has_its_cases_and_its_curve(ledger):
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


def test_a_finished_run_is_taken_into_the_ledger(ledger, finished, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "LEDGER", tmp_path)
    ledger.collect("demo", finished / "data" / "demo", "kedro run --env demo --params training.seed=0", "abc", "cpu")
    rows = pd.read_csv(tmp_path / "demo.csv")
    assert set(rows["average"]) == {"per_image", "pooled", "legacy"}
    assert set(rows["width"]) == {0.0625}
    assert set(rows["training_precision"]) == {"auto"}
    assert len(pd.read_csv(tmp_path / "curves" / "demo.csv")) == 2
    assert len(pd.read_csv(tmp_path / "cases" / "demo.csv")) == 3 + 5  # validation and test
