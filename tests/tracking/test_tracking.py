"""Contents of a run in MLflow, and outages of its store."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project
from kedro.runner import ParallelRunner, ThreadRunner
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from PIL import Image

from lesion_project.cli import cli
from lesion_project.tracking.description import flatten
from lesion_project.tracking.run import TrackedRun
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.tensor_files import read_tensors
from lesion_segmentation.model import load_network
from lesion_segmentation.prediction import Predictor
from lesion_segmentation.training.trainer import Trainer

SCORES = ("accuracy", "precision", "recall", "iou", "dice")
SIGNALS = int(os.environ.get("SIGNALS", "3"))
SHORT = "image_size.height=64,image_size.width=96,training.width=0.0625,training.batch_size=4"


def runs(project: Path, experiment: str = "ph2-segnet-demo") -> list[Run]:
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    found = client.get_experiment_by_name(experiment)
    return [] if found is None else list(client.search_runs([found.experiment_id]))


def require_everything(tracked: Run, project: Path) -> None:
    assert tracked.info.status == "FINISHED"
    metrics, tags = tracked.data.metrics, tracked.data.tags
    assert {f"test_{score}{suffix}" for score in SCORES for suffix in ("", "_pooled")} <= set(metrics)
    assert {f"{s}_{m}" for s in ("train", "validation") for m in (*SCORES, "loss")} <= set(metrics)
    assert {"environment": "demo", "protocol": "stratified", "seed": "0", "leak": "false"}.items() <= tags.items()
    assert all(tags[name] for name in ("split_hash", "data_hash", "git_commit", "git_dirty", "device"))
    assert tags["trained_by"] == tracked.info.run_id
    assert "SegNet" in tags["network"]  # a readable title
    assert tracked.data.params["training.width"] == "0.0625"
    assert tracked.data.params["training.online_augmentation.rotation"] == "180"
    assert tracked.data.params["prediction.test_time_augmentation"] == "four"
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


def test_run_has_parameters_metrics_tags_and_artifacts(finished):
    (tracked,) = runs(finished)
    require_everything(tracked, finished)


@pytest.mark.long
def test_thread_runner_gives_the_same_results(run, project, finished, capsys):
    run(runner=ThreadRunner())
    assert "holds files of" not in capsys.readouterr().out  # all files come from one run
    (tracked,) = runs(project)
    require_everything(tracked, project)
    table = Path("data") / "demo" / "08_reporting" / "table_ii.csv"
    pd.testing.assert_frame_equal(pd.read_csv(project / table), pd.read_csv(finished / table))


def test_logged_model_predicts_the_same_masks_as_the_predictor_at_any_size(finished, monkeypatch):
    import mlflow

    monkeypatch.chdir(finished)
    (tracked,) = runs(finished)
    mlflow.set_tracking_uri(f"sqlite:///{finished / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model(f"models:/{tracked.outputs.model_outputs[0].model_id}")
    data = finished / "data" / "demo"
    images = np.load(data / "03_primary" / "images.npz")
    small = np.stack([images["SYN001"], images["SYN002"]])
    predictor = Predictor(load_network(data / "06_models" / "network.safetensors"))
    for batch in (small, np.repeat(np.repeat(small, 3, axis=1), 3, axis=2)):
        masks = model.predict(batch)
        assert masks.shape == batch.shape[:3]
        assert masks.dtype == np.uint8
        assert np.array_equal(masks, np.stack([each.mask for each in predictor(batch)]))


@pytest.mark.after_a_run
def test_reporting_run_names_the_run_that_trained(run, project):
    (first,) = runs(project)
    run(pipeline_names=["reporting"])
    second = next(tracked for tracked in runs(project) if tracked.info.run_id != first.info.run_id)
    assert second.data.tags["trained_by"] == first.info.run_id
    assert second.data.metrics["test_dice"] == first.data.metrics["test_dice"]


@pytest.mark.after_a_run
def test_files_made_with_other_parameters_are_reported_once(run, project, caplog):
    (first,) = runs(project)
    run(namespaces=["reporting.scores"])
    assert not [record for record in caplog.records if "other parameters" in record.message]
    changed = {"image_size.resizing": "linear", "training.device": "cpu", "reporting.register": None}
    run(params=changed, namespaces=["reporting.scores"])
    (message,) = [record.message for record in caplog.records if "other parameters" in record.message]
    assert f"The run {first.info.run_id} made" in message
    assert "with other parameters: image_size.resizing was cubic, and is linear now. Run the steps" in message


@pytest.mark.after_a_run
def test_no_test_scores_if_score_test_is_false(run, project):
    (first,) = runs(project)
    run(params={"reporting.score_test": False}, pipeline_names=["reporting"])
    second = next(tracked for tracked in runs(project) if tracked.info.run_id != first.info.run_id)
    assert not [name for name in second.data.metrics if name.startswith("test_")]
    data = project / "data" / "demo"
    assert set(pd.read_csv(data / "08_reporting" / "table_ii.csv")["subset"]) == {"train", "validation"}
    assert len(np.load(data / "07_model_output" / "probabilities.npz").files) == 15


@pytest.mark.after_a_run
def test_failing_run_has_the_status_failed_and_its_error_is_not_logged(run, project, caplog):
    wild = {"training.learning_rate": 1e30, "training.optimizer": "sgd", "training.schedule": "one_cycle"}
    with pytest.raises(InputError, match="no longer finite"):
        run(params=wild, pipeline_names=["training"])
    assert "finite" not in caplog.text  # the command prints the error
    assert sorted(tracked.info.status for tracked in runs(project)) == ["FAILED", "FINISHED"]


def test_model_is_logged_to_the_experiment_of_its_run(finished, monkeypatch):
    import mlflow

    monkeypatch.chdir(finished)
    (tracked,) = runs(finished)
    client = MlflowClient(f"sqlite:///{finished / 'mlflow.db'}")
    assert len(client.search_logged_models([tracked.info.experiment_id])) == 1
    assert client.search_logged_models(["0"]) == []
    mlflow.set_tracking_uri(f"sqlite:///{finished / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model(f"runs:/{tracked.info.run_id}/network")
    assert model.metadata.run_id == tracked.info.run_id


@pytest.mark.after_a_run
def test_refused_artifact_is_reported_and_does_not_hold_up_the_others(run, project, monkeypatch):
    def refuse(client: MlflowClient, run_id: str, path: str) -> None:
        if path.endswith("calibration.csv"):
            raise OSError("the store is full")
        upload(client, run_id, path)

    upload = MlflowClient.log_artifact
    monkeypatch.setattr(MlflowClient, "log_artifact", refuse)
    with pytest.raises(InputError, match=r"MLflow lacks 1 entry of run \w+ \(the store is full\)\. All files"):
        run(namespaces=["reporting.tables"])
    newest, _ = runs(project)
    assert newest.info.status == "FINISHED"
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    artifacts = {each.path for each in client.list_artifacts(newest.info.run_id)}
    assert {"table_ii.csv", "threshold_sweep.csv"} <= artifacts
    assert "calibration.csv" not in artifacts


@pytest.mark.after_a_run
def test_refused_artifact_is_sent_again_at_the_end(run, project, monkeypatch):
    def refuse(client: MlflowClient, run_id: str, path: str) -> None:
        if path.endswith("calibration.csv") and not refused:
            refused.append(path)
            raise OSError("the store is full")
        upload(client, run_id, path)

    upload, refused = MlflowClient.log_artifact, []
    monkeypatch.setattr(MlflowClient, "log_artifact", refuse)
    run(namespaces=["reporting.tables"])
    newest, _ = runs(project)
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    assert "calibration.csv" in {each.path for each in client.list_artifacts(newest.info.run_id)}
    assert len(refused) == 1


@pytest.mark.after_a_run
def test_training_continues_in_an_outage_and_its_curve_is_complete(run, project, monkeypatch):
    away = {2, 3}

    def refuse(client: MlflowClient, run_id: str, **what: Any) -> None:
        if any(metric.step in away and metric.key == "train_dice" for metric in what.get("metrics", [])):
            raise ConnectionError("refused")
        log(client, run_id, **what)

    def back(self: Trainer, epoch: int, *arguments: Any) -> dict[str, float]:
        if epoch == 5:
            away.clear()
        return run_epoch(self, epoch, *arguments)

    log, run_epoch = MlflowClient.log_batch, Trainer.run_epoch
    monkeypatch.setattr(MlflowClient, "log_batch", refuse)
    monkeypatch.setattr(Trainer, "run_epoch", back)
    run(params={"training.epochs": 6}, pipeline_names=["training"])
    newest, _ = runs(project)
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    steps = [metric.step for metric in client.get_metric_history(newest.info.run_id, "train_dice")]
    assert sorted(steps) == [1, 2, 3, 4, 5, 6]
    assert newest.info.status == "FINISHED"


@pytest.mark.after_a_run
def test_failing_run_reports_its_own_error_in_an_outage(run, monkeypatch, caplog):
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("refused")

    wild = {"training.learning_rate": 1e30, "training.optimizer": "sgd", "training.schedule": "one_cycle"}
    for name in ("log_batch", "log_inputs", "set_terminated"):
        monkeypatch.setattr(MlflowClient, name, refuse)
    with pytest.raises(InputError, match="no longer finite"):
        run(params=wild, pipeline_names=["training"])
    assert " entries of run " in caplog.text


def test_run_is_not_created_twice_if_the_answer_was_lost(run, project, monkeypatch):
    create, calls = MlflowClient.create_run, []

    def lost(*arguments: Any, **options: Any) -> Any:
        made = create(*arguments, **options)
        calls.append(made.info.run_id)
        raise MlflowException("the answer was lost")

    monkeypatch.setattr(MlflowClient, "create_run", lost)
    run(pipeline_names=["data_processing"])
    (only,) = runs(project)
    assert [only.info.run_id] == calls
    assert only.info.status == "FINISHED"


def test_interrupted_answer_is_requested_again(run, project, monkeypatch):
    """The store breaks off while it lists the open runs of this machine. MLflow itself does not repeat the request."""
    search, calls = MlflowClient.search_runs, []

    def broken(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise MlflowException("Connection broken: IncompleteRead(0 bytes read, 7113 more expected)")
        return search(*arguments, **options)

    monkeypatch.setattr(MlflowClient, "search_runs", broken)
    run(pipeline_names=["data_processing"])
    (only,) = runs(project)
    assert only.info.status == "FINISHED"


@pytest.mark.after_a_run
def test_run_without_outputs_is_deleted(run, project):
    run(only_missing_outputs=True)
    assert len(runs(project)) == 1


def test_parallel_runner_is_refused_before_any_work(run, project):
    with pytest.raises(InputError, match="ParallelRunner cannot be used"):
        run(runner=ParallelRunner())
    assert runs(project) == []


@pytest.mark.after_a_run
def test_interrupted_run_of_a_notebook_is_ended_by_the_next_run(run, project, monkeypatch):
    """In a notebook, Ctrl-C raises KeyboardInterrupt, for which Kedro calls no hook."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrackedRun, "log_dataset", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(pipeline_names=["data_processing"])
    run(pipeline_names=["data_processing"])
    assert [each.info.status for each in runs(project)] == ["FINISHED", "KILLED", "FINISHED"]


@pytest.mark.after_a_run
def test_run_ended_by_sigkill_is_set_to_killed_by_the_next_run(run, project):
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    (finished,) = runs(project)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    tags = {"host": finished.data.tags["host"]}
    gone, alive = (
        client.create_run(finished.info.experiment_id, tags=tags | {"pid": str(pid)}).info.run_id
        for pid in (process.pid, os.getppid())
    )
    run(pipeline_names=["data_processing"])
    assert client.get_run(gone).info.status == "KILLED"
    assert client.get_run(alive).info.status == "RUNNING"


@pytest.mark.after_a_run
def test_moved_project_is_reported_before_any_work(run, project):
    with closing(sqlite3.connect(project / "mlflow.db")) as store, store:
        store.execute("UPDATE experiments SET artifact_location = 'file:///before/mlruns' WHERE experiment_id > 0")
    with pytest.raises(InputError, match="If the project was moved or copied, move it back"):
        run(pipeline_names=["data_processing"])
    assert len(runs(project)) == 1


@pytest.mark.after_a_run
def test_deleted_experiment_is_reported_with_the_command_that_restores_it(run, project):
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    client.delete_experiment(client.get_experiment_by_name("ph2-segnet-demo").experiment_id)
    with pytest.raises(InputError, match="mlflow experiments restore --experiment-id"):
        run(pipeline_names=["data_processing"])


def test_unreachable_server_is_reported_before_any_work(run, project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="cannot be reached"):
        run()
    assert not (project / "data").exists()


def test_tracking_store_can_be_configured(run, project, tmp_path, monkeypatch):
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
        # A shell makes background processes ignore SIGINT, and their child processes inherit this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.xdist_group("whole machine")
@pytest.mark.long
def test_signals_at_random_times_of_a_run(project):
    """The variable SIGNALS sets the number of signals. With -s, pytest shows how long each run took to end."""
    quick = ("--params", f"{SHORT},training.epochs=20")
    began = time.monotonic()
    assert start(project, *quick).wait() == 0
    whole = time.monotonic() - began
    generator = np.random.default_rng(0)
    killed = 0
    for number in islice(cycle([signal.SIGTERM, signal.SIGINT, signal.SIGKILL]), SIGNALS):
        process = start(project, *quick)
        time.sleep(generator.uniform(0, 0.9 * whole))
        run_began = bool(own_runs(project, process))
        sent, over_before = time.monotonic(), process.poll() is not None
        process.send_signal(number)
        process.communicate(timeout=60)
        print(f"{number.name}: over after {time.monotonic() - sent:.1f} s, status {process.returncode}")
        # A signal during the start of Python gives status 1. Status 0 would mean that the signal did not end the run.
        assert over_before or process.returncode in (-number, 1)
        statuses = {tracked.info.status for tracked in own_runs(project, process)}
        if run_began and not over_before:
            killed += 1
            assert statuses == {"RUNNING" if number == signal.SIGKILL else "KILLED"}
        require_whole_files(project / "data" / "demo")
    assert start(project, *quick).wait() == 0
    counted = Counter(tracked.info.status for tracked in runs(project))
    assert set(counted) <= {"FINISHED", "KILLED"}
    assert counted["KILLED"] >= killed > 0
    assert not [path.name for path in (project / "data" / "demo").rglob("*.partial*")]


def own_runs(project: Path, process: subprocess.Popen[str]) -> list[Run]:
    return [tracked for tracked in runs(project) if tracked.data.tags.get("pid") == str(process.pid)]


def require_whole_files(folder: Path) -> None:
    """Check that each file below the folder can be read completely."""
    for path in folder.rglob("*.*"):
        if ".partial" in path.name:  # left by SIGKILL, and removed by the next run
            continue
        match path.suffix:
            case ".csv":
                assert len(pd.read_csv(path)) > 0 or path.name == "annotators.csv"  # synthetic cases name no annotators
            case ".npz":
                assert all(array.size for array in dict(np.load(path)).values())
            case ".json":
                json.loads(path.read_text())
            case ".png":
                Image.open(path).load()
            case ".safetensors":
                read_tensors(path)
            case ".html" | ".md":
                assert path.read_text().strip()[-1] in ">.`|"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("training.batch_size=500", "batch_size is 500"),
        ("training.widht=1", "widht"),
        ("trainning.width=1", "Unknown parameters: trainning"),
        ("split.protocol=paper", "test cases are missing"),
    ],
)
def test_user_error_is_reported_with_its_message(project, params, message):
    bootstrap_project(project)
    result = CliRunner().invoke(cli, ["run", "--env", "demo", "--params", f"{SHORT},{params}"])
    assert result.exit_code == 1
    assert message in result.output
    assert isinstance(result.exception, SystemExit)  # click exits after the message


def test_user_error_shows_no_stack_trace(project):
    process = start(project, "--params", f"{SHORT},training.batch_size=500")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "batch_size is 500" in output
    assert "Traceback" not in output


def test_flatten():
    nested: dict[str, Any] = {"a": {"b": 1, "c": {"d": [1, 2]}}, "e": "f"}
    assert flatten(nested) == {"a.b": 1, "a.c.d": "[1, 2]", "e": "f"}
