"""What MLflow is told."""

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
from lesion_project.tracking import TrackedRun, flatten
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


def test_one_finished_run_with_everything(finished):
    (tracked,) = runs(finished)
    require_everything(tracked, finished)


@pytest.mark.long
def test_the_thread_runner_gives_the_same(run, project, finished, capsys):
    run(runner=ThreadRunner())
    assert "holds files of" not in capsys.readouterr().out  # one run alone
    (tracked,) = runs(project)
    require_everything(tracked, project)
    table = Path("data") / "demo" / "08_reporting" / "table_ii.csv"
    pd.testing.assert_frame_equal(pd.read_csv(project / table), pd.read_csv(finished / table))


def test_the_logged_model_gives_masks_as_the_predictor_does_at_any_size(finished, monkeypatch):
    import mlflow

    monkeypatch.chdir(finished)
    (tracked,) = runs(finished)
    mlflow.set_tracking_uri(f"sqlite:///{finished / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model(f"models:/{tracked.outputs.model_outputs[0].model_id}")
    data = finished / "data" / "demo"
    images = np.load(data / "03_primary" / "images.npz")
    small = np.stack([images["SYN001"], images["SYN002"]])
    predictor = Predictor(load_network(data / "06_models" / "network.safetensors"))
    for pictures in (small, np.repeat(np.repeat(small, 3, axis=1), 3, axis=2)):
        masks = model.predict(pictures)
        assert masks.shape == pictures.shape[:3]
        assert masks.dtype == np.uint8
        assert np.array_equal(masks, np.stack([each.mask for each in predictor(pictures)]))


@pytest.mark.after_a_run
def test_reporting_alone_names_the_run_that_trained(run, project):
    (first,) = runs(project)
    run(pipeline_names=["reporting"])
    second = next(tracked for tracked in runs(project) if tracked.info.run_id != first.info.run_id)
    assert second.data.tags["trained_by"] == first.info.run_id
    assert second.data.metrics["test_dice"] == first.data.metrics["test_dice"]


@pytest.mark.after_a_run
def test_no_test_scores_when_a_recipe_is_searched(run, project):
    (first,) = runs(project)
    run(params={"reporting.score_test": False}, pipeline_names=["reporting"])
    second = next(tracked for tracked in runs(project) if tracked.info.run_id != first.info.run_id)
    assert not [name for name in second.data.metrics if name.startswith("test_")]
    data = project / "data" / "demo"
    assert set(pd.read_csv(data / "08_reporting" / "table_ii.csv")["subset"]) == {"train", "validation"}
    assert len(np.load(data / "07_model_output" / "probabilities.npz").files) == 15


@pytest.mark.after_a_run
def test_a_run_that_fails_says_so(run, project):
    wild = {"training.learning_rate": 1e30, "training.optimizer": "sgd", "training.schedule": "cosine"}
    with pytest.raises(InputError, match="no longer finite"):
        run(params=wild, pipeline_names=["training"])
    assert sorted(tracked.info.status for tracked in runs(project)) == ["FAILED", "FINISHED"]


def test_the_model_stands_in_its_runs_experiment(finished, monkeypatch):
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
def test_what_cannot_be_sent_is_kept_and_does_not_hold_up_the_rest(run, project, monkeypatch):
    def refuse(client: MlflowClient, run_id: str, path: str) -> None:
        if path.endswith("calibration.csv"):
            raise OSError("the store is full")
        upload(client, run_id, path)

    upload = MlflowClient.log_artifact
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifact", refuse)
        with pytest.raises(InputError, match=r"1 messages are in .*unsent_\w+\.json"):
            run(namespaces=["reporting.tables"])
    newest, _ = runs(project)
    assert newest.info.status == "FINISHED"
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")

    def artifacts() -> set[str]:
        return {each.path for each in client.list_artifacts(newest.info.run_id)}

    assert {"table_ii.csv", "threshold_sweep.csv"} <= artifacts()
    assert "calibration.csv" not in artifacts()
    (unsent,) = (project / "data" / "demo" / "08_reporting").glob("unsent_*.json")
    result = CliRunner().invoke(cli, ["send-run", str(unsent)])
    assert "Sent: 1 messages" in result.output
    assert "calibration.csv" in artifacts()
    assert not unsent.exists()


@pytest.mark.after_a_run
def test_a_training_goes_on_while_mlflow_is_away_and_its_curve_is_complete(run, project, monkeypatch):
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
def test_a_run_that_fails_while_mlflow_is_away_keeps_what_it_had_to_tell(run, project, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("refused")

    wild = {"training.learning_rate": 1e30, "training.optimizer": "sgd", "training.schedule": "cosine"}
    with monkeypatch.context() as patch:
        for name in ("log_batch", "log_inputs", "set_terminated"):
            patch.setattr(MlflowClient, name, refuse)
        with pytest.raises(InputError, match="no longer finite"):
            run(params=wild, pipeline_names=["training"])
    (unsent,) = (project / "data" / "demo" / "08_reporting").glob("unsent_*.json")
    assert CliRunner().invoke(cli, ["send-run", str(unsent)]).exit_code == 0
    newest, _ = runs(project)
    assert newest.info.status == "FAILED"
    assert newest.data.params["training.learning_rate"] == "1e+30"


def test_a_run_whose_making_was_not_answered_is_not_made_twice(run, project, monkeypatch):
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


def test_an_answer_that_broke_off_is_asked_for_again(run, project, monkeypatch):
    """The server is killed while it says which runs of this machine are open; MLflow itself does not ask again."""
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
def test_a_run_that_made_nothing_is_taken_back(run, project):
    run(only_missing_outputs=True)
    assert len(runs(project)) == 1


def test_the_parallel_runner_is_refused_before_any_work(run, project):
    with pytest.raises(InputError, match="ParallelRunner cannot be used"):
        run(runner=ParallelRunner())
    assert runs(project) == []


@pytest.mark.after_a_run
def test_an_interrupted_run_of_a_notebook_is_ended_by_the_next(run, project, monkeypatch):
    """There Ctrl-C is an exception, of which Kedro tells nobody."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrackedRun, "log_dataset", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(pipeline_names=["data_processing"])
    run(pipeline_names=["data_processing"])
    assert [each.info.status for each in runs(project)] == ["FINISHED", "KILLED", "FINISHED"]


@pytest.mark.after_a_run
def test_a_project_that_was_moved_is_told_before_any_work(run, project):
    with closing(sqlite3.connect(project / "mlflow.db")) as store, store:
        store.execute("UPDATE experiments SET artifact_location = 'file:///before/mlruns' WHERE experiment_id > 0")
    with pytest.raises(InputError, match="was it moved or copied"):
        run(pipeline_names=["data_processing"])
    assert len(runs(project)) == 1


@pytest.mark.after_a_run
def test_a_deleted_experiment_is_told_with_mlflows_remedy(run, project):
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    client.delete_experiment(client.get_experiment_by_name("ph2-segnet-demo").experiment_id)
    with pytest.raises(InputError, match="mlflow experiments restore --experiment-id"):
        run(pipeline_names=["data_processing"])


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


@pytest.mark.xdist_group("whole machine")
@pytest.mark.long
def test_signals_at_random_instants_of_a_whole_run(project):
    """SIGNALS=40 for more of them, each at an instant of its own; -s tells after how long each run was over."""
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
        # 1: while Python starts. A run that a signal does not end would end as FINISHED, with status 0.
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
    """Every file below can be read to its end."""
    for path in folder.rglob("*.*"):
        if ".partial" in path.name:  # of a process that SIGKILL ended: the next one sweeps it
            continue
        match path.suffix:
            case ".csv":
                assert len(pd.read_csv(path)) > 0
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
        ("split.protocol=paper", "test cases are not there"),
    ],
)
def test_a_users_mistake_is_told_in_words(project, params, message):
    bootstrap_project(project)
    result = CliRunner().invoke(cli, ["run", "--env", "demo", "--params", f"{SHORT},{params}"])
    assert result.exit_code == 1
    assert message in result.output
    assert isinstance(result.exception, SystemExit)  # click's own end, after the words


def test_a_users_mistake_shows_no_stack_trace(project):
    process = start(project, "--params", f"{SHORT},training.batch_size=500")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "batch_size is 500" in output
    assert "Traceback" not in output


def test_flatten():
    nested: dict[str, Any] = {"a": {"b": 1, "c": {"d": [1, 2]}}, "e": "f"}
    assert flatten(nested) == {"a.b": 1, "a.c.d": "[1, 2]", "e": "f"}
