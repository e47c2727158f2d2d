"""What MLflow is told."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kedro.runner import ThreadRunner
from mlflow import MlflowClient
from mlflow.entities import Run

from lesion_segmentation.errors import InputError
from lesion_segmentation.tracking import flatten

SCORES = ("accuracy", "precision", "recall", "iou", "dice")
SHORT = "image_size.height=64,image_size.width=96,training.width=0.0625,training.batch_size=4"


def runs(project: Path, experiment: str = "ph2-segnet-demo") -> list[Run]:
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    found = client.get_experiment_by_name(experiment)
    return [] if found is None else list(client.search_runs([found.experiment_id]))


@pytest.mark.parametrize("runner", [None, ThreadRunner])
def test_one_finished_run_with_everything(run, project, runner):
    run(runner=runner() if runner else None)
    (tracked,) = runs(project)
    assert tracked.info.status == "FINISHED"
    metrics, tags = tracked.data.metrics, tracked.data.tags
    assert {f"test_{score}{suffix}" for score in SCORES for suffix in ("", "_pooled")} <= set(metrics)
    assert {f"{s}_{m}" for s in ("train", "validation") for m in (*SCORES, "loss")} <= set(metrics)
    assert {"environment": "demo", "protocol": "stratified", "seed": "0"}.items() <= tags.items()
    assert all(tags[name] for name in ("split_hash", "data_hash", "git_commit", "git_dirty", "device"))
    assert tags["trained_by"] == tracked.info.run_id
    assert tracked.data.params["training.width"] == "0.0625"
    assert tracked.data.params["training.on_the_fly.rotation"] == "180"
    assert {"split.protocol", "split.validation_cases", "training.architecture", "training.unpooling"} <= set(
        tracked.data.params
    )
    (dataset,) = tracked.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("synthetic", tags["data_hash"])
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    artifacts = {entry.path for entry in client.list_artifacts(tracked.info.run_id)}
    assert {"case_metrics.csv", "predicted_masks.npz", "table_ii.csv", "training_curves.png"} <= artifacts
    steps = [metric.step for metric in client.get_metric_history(tracked.info.run_id, "validation_dice")]
    assert steps == [1, 2]


def test_the_logged_model_gives_masks(run, project):
    import mlflow

    run()
    (tracked,) = runs(project)
    mlflow.set_tracking_uri(f"sqlite:///{project / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model(f"models:/{tracked.outputs.model_outputs[0].model_id}")
    images = np.load(project / "data" / "03_primary" / "images.npz")
    masks = model.predict(np.stack([images["SYN001"], images["SYN002"]]))
    assert masks.shape == (2, 64, 96)
    assert masks.dtype == np.uint8
    assert set(np.unique(masks)) <= {0, 1}


def test_reporting_alone_names_the_run_that_trained(run, project):
    run()
    (first,) = runs(project)
    run(pipeline_names=["reporting"])
    second = next(tracked for tracked in runs(project) if tracked.info.run_id != first.info.run_id)
    assert second.data.tags["trained_by"] == first.info.run_id
    assert second.data.metrics["test_dice"] == first.data.metrics["test_dice"]


def test_no_test_scores_when_a_recipe_is_searched(run, project):
    run(params={"reporting.score_test": False})
    (tracked,) = runs(project)
    assert not [name for name in tracked.data.metrics if name.startswith("test_")]


def test_a_run_that_fails_says_so(run, project):
    with pytest.raises(InputError, match="no longer finite"):
        run(params={"training.learning_rate": 1e30, "training.optimiser": "sgd", "training.schedule": "cosine"})
    assert [tracked.info.status for tracked in runs(project)] == ["FAILED"]


def test_an_unreachable_server_stops_before_training(run, project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="cannot be reached"):
        run()
    assert not (project / "data").exists()


def test_the_store_can_be_chosen(run, project, tmp_path, monkeypatch):
    (project / "conf" / "demo" / "mlflow.yml").write_text("experiment: mine\ntracking_uri: sqlite:///other.db\n")
    run(pipeline_names=["data_processing"])
    client = MlflowClient(f"sqlite:///{project / 'other.db'}")
    assert client.get_experiment_by_name("mine") is not None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'mlflow.db'}")
    run(pipeline_names=["data_processing"])
    assert len(runs(project, "mine")) == 1


def start(project: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "kedro", "run", "--env", "demo", *options]
    return subprocess.Popen(
        command,
        cwd=project,
        env=os.environ | {"COLUMNS": "300"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell that runs the tests in the background has Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for_epoch(project: Path) -> Run:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (found := runs(project)) and "train_dice" in found[0].data.metrics:
            return found[0]
        time.sleep(0.3)
    raise AssertionError("no epoch was logged")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_killed_run_is_killed(run, project, number):
    process = start(project, "--params", f"{SHORT},training.epochs=1000")
    try:
        wait_for_epoch(project)
        process.send_signal(number)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0
    if number == signal.SIGKILL:  # nobody could say so then: the next run does
        assert runs(project)[0].info.status == "RUNNING"
        run(pipeline_names=["data_processing"])
    assert "KILLED" in {tracked.info.status for tracked in runs(project)}
    assert "RUNNING" not in {tracked.info.status for tracked in runs(project)}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("training.batch_size=500", "batch_size is 500"),
        ("training.widht=1", "widht"),
        ("trainning.width=1", "Unknown parameters: trainning"),
        ("split.protocol=paper", "test cases are not there"),
    ],
)
def test_a_users_mistake_shows_no_stack_trace(project, params, message):
    process = start(project, "--params", f"{SHORT},{params}")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert message in output
    assert "Traceback" not in output


def test_flatten():
    nested: dict[str, Any] = {"a": {"b": 1, "c": {"d": [1, 2]}}, "e": "f"}
    assert flatten(nested) == {"a.b": 1, "a.c.d": "[1, 2]", "e": "f"}
