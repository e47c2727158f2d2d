"""kedro cross-validate: folds are complete runs, are not repeated, and are pooled."""

import json
from functools import partialmethod

import numpy as np
import pandas as pd
import pytest
from conftest import QUICK, nest
from mlflow import MlflowClient

from lesion_project.experiments.cross_validation import cross_validate
from lesion_project.experiments.trials import Experiment
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.evaluation.folds import pool_folds

PARAMS = nest(QUICK | {"training.epochs": 1, "split.validation_cases": 0})


def tracked_runs(project):
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("ph2-segnet-demo")
    return client.search_runs([experiment.experiment_id])


@pytest.fixture(autouse=True)
def stop_after_scores(monkeypatch):
    """End each fold after its scores. tests/experiments/test_workers.py runs folds with the complete report."""
    monkeypatch.setattr(Experiment, "run", partialmethod(Experiment.run, to_outputs=["case_metrics"]))


@pytest.mark.long
def test_rerun_completes_missing_folds_and_pools_all(more_cases, capsys):
    project = more_cases
    cross_validate(project, "demo", [0, 1], PARAMS)
    assert capsys.readouterr().out.count("Results:") == 1  # once per command, not per fold
    before = {run.info.run_id for run in tracked_runs(project)}
    cross_validate(project, "demo", [0, 1, 2, 3, 4], PARAMS)
    new = [run for run in tracked_runs(project) if run.info.run_id not in before]
    (parent,) = [run for run in new if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in new if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.data.params["split.fold"] for run in children) == ["2", "3", "4"]
    assert {run.info.status for run in new} == {"FINISHED"}
    root = project / "data" / "cross_validation" / "demo"
    assert all((root / f"fold_{fold}" / "03_primary" / "cases.csv").is_file() for fold in range(5))
    tables = [pd.read_csv(root / f"fold_{fold}" / "08_reporting" / "case_metrics.csv") for fold in range(5)]
    by_hand = pd.concat([table[table["subset"] == "test"] for table in tables])
    assert sorted(by_hand["case_id"]) == [f"SYN{number:03d}" for number in range(1, 26)]
    row = pd.read_csv(root / "08_reporting" / "cross_validation.csv").set_index("metric").loc["dice"]
    means = [table.loc[table["subset"] == "test", "dice"].mean() for table in tables]
    assert row["n"] == 25
    assert row["score"] == pytest.approx(by_hand["dice"].mean())
    assert row["mean_of_folds"] == pytest.approx(np.mean(means))
    assert row["deviation_of_folds"] == pytest.approx(np.std(means, ddof=1))
    assert parent.data.metrics["cross_validation_dice"] == pytest.approx(row["score"])


@pytest.mark.long
def test_finished_folds_with_other_parameters_are_refused(more_cases, monkeypatch):
    ran: list[str] = []
    run = Experiment.run
    monkeypatch.setattr(
        Experiment, "run", lambda self, trial, parent: ran.append(trial.name) or run(self, trial, parent)
    )
    params = {**PARAMS, "data_root": "somewhere/else"}
    cross_validate(more_cases, "demo", [0], params)
    root = more_cases / "somewhere" / "else"
    changed = {**params, "training": {**PARAMS["training"], "seed": 5}}
    before = len(tracked_runs(more_cases))
    for folds in ([0], [1]):  # fold 0 would be pooled with fold 1
        with pytest.raises(InputError, match=r"fold_0: training\.seed was 0, and is 5 now"):
            cross_validate(more_cases, "demo", folds, changed)
    (root / "fold_3").mkdir()
    with pytest.raises(InputError, match="fold_3 is unfinished and not requested"):
        cross_validate(more_cases, "demo", [0], params)
    with pytest.raises(InputError, match="There is no fold 7"):
        cross_validate(more_cases, "demo", [7], params)
    assert len(tracked_runs(more_cases)) == before  # refused before any work
    mark = root / "fold_0" / "finished.json"
    older = json.loads(mark.read_text())
    del older["parameters"]["training.validation_scores"]  # the mark of a version that had no such parameter
    mark.write_text(json.dumps(older))
    resumed = {**params, "training": {**PARAMS["training"], "resume": True}}
    cross_validate(more_cases, "demo", [0, 3], resumed)
    assert ran == ["fold_0", "fold_3"]  # fold 0 was finished with the same parameters, so it is not repeated
    assert {run.info.status for run in tracked_runs(more_cases)} == {"FINISHED"}
    for content, message in (
        ({**older, "format_version": 99}, "is of a newer version of this project"),
        ({**older, "colour": "red"}, "unknown colour"),
        ({"training.seed": 0}, "is damaged, or of an older version"),
        ("", "is damaged, or of an older version"),
    ):
        mark.write_text(json.dumps(content) if content else "")
        with pytest.raises(InputError, match=message):
            cross_validate(more_cases, "demo", [0], params)


def test_failing_fold_sets_the_status_of_the_parent_to_failed(more_cases, monkeypatch):
    def fail(*_: object) -> None:
        raise InputError("no space")

    monkeypatch.setattr(Experiment, "run", fail)
    with pytest.raises(InputError, match="no space"):
        cross_validate(more_cases, "demo", [0], PARAMS)
    assert [run.info.status for run in tracked_runs(more_cases)] == ["FAILED"]


def test_other_run_in_the_same_folder_is_not_pooled():
    table = pd.DataFrame({"subset": ["test"], "case_id": ["a"]})
    pooled = pool_folds({"fold_0/": lambda: table, "": lambda: table, "fold_x/": lambda: table})
    assert list(pooled["fold"]) == [0]


def test_case_in_two_folds_is_refused():
    table = pd.DataFrame({"subset": ["test"], "case_id": ["a"]})
    with pytest.raises(InputError, match="1 case in the test sets of several folds, such as a"):
        pool_folds({"fold_0/": lambda: table, "fold_1/": lambda: table})
