"""`kedro predict`: equal masks, a run in MLflow without file names, exit statuses."""

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project
from mlflow import MlflowClient
from PIL import Image

from lesion_project.cli import cli
from lesion_segmentation.cli import SOME_FAILED, main
from lesion_segmentation.model import NetworkMetadata, build_network, save_network


@pytest.fixture
def images_and_weights(tmp_path):
    folder = tmp_path / "patients" / "in"
    (folder / "miller").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in ("a.png", "miller/b.png", "miller/c.png"):
        Image.fromarray(generator.integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(folder / name)
    weights = tmp_path / "secret.safetensors"
    save_network(build_network(NetworkMetadata("segnet", {"width": 0.0625}, (64, 96))), weights)
    return folder, weights


def predict(project, monkeypatch, *arguments):
    bootstrap_project(project)
    monkeypatch.chdir(project)
    return CliRunner().invoke(cli, ["predict", *map(str, arguments)])


def masks_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*_mask.png")}


def test_tracked_masks_are_equal_and_mlflow_gets_no_file_names(project, images_and_weights, tmp_path, monkeypatch):
    folder, weights = images_and_weights
    tracked, plain, untracked = (tmp_path / f"out_{name}" for name in ("tracked", "plain", "untracked"))
    result = predict(project, monkeypatch, folder, tracked, "--weights", weights, "--threshold", "0.4")
    assert result.exit_code == 0, result.output
    CliRunner().invoke(main, ["predict", str(folder), str(plain), "--weights", str(weights), "--threshold", "0.4"])
    result = predict(
        project, monkeypatch, folder, untracked, "--weights", weights, "--threshold", "0.4", "--no-tracking"
    )
    assert result.exit_code == 0, result.output
    assert masks_of(tracked) == masks_of(plain) == masks_of(untracked)
    assert len(masks_of(tracked)) == 3
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("ph2-segnet-prediction")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["images"] == 3
    assert run.data.metrics["failed"] == 0
    assert run.data.params["prediction.threshold"] == "0.4"
    recorded = str(run.to_dictionary())
    assert not [word for word in ("miller", "patients", "secret", "a.png", "out_tracked") if word in recorded]
    assert client.list_artifacts(run.info.run_id) == []
    assert run.data.tags["kedro_command"].startswith("kedro predict IN OUT")
    # The rest of the group comes from conf/base, except that null means the value of the weights.
    parameters = {name: run.data.params[f"prediction.{name}"] for name in ("test_time_augmentation", "batch_size")}
    assert parameters == {"test_time_augmentation": "None", "batch_size": "8"}


@pytest.mark.after_a_run
def test_untracked_prediction_finds_the_network_of_a_run(project, images_and_weights, tmp_path, monkeypatch):
    folder, _ = images_and_weights
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("ph2-segnet-demo").experiment_id])
    result = predict(project, monkeypatch, folder, tmp_path / "out", "--weights", run.info.run_id, "--no-tracking")
    assert result.exit_code == 0, result.output
    weights = project / "data" / "demo" / "06_models" / "network.safetensors"
    predict(project, monkeypatch, folder, tmp_path / "file", "--weights", weights, "--no-tracking")
    assert masks_of(tmp_path / "out") == masks_of(tmp_path / "file")
    assert client.get_experiment_by_name("ph2-segnet-prediction") is None
    result = predict(project, monkeypatch, folder, tmp_path / "other", "--weights", "models:/nobody/1", "--no-tracking")
    assert result.exit_code == 1
    assert "MLflow has no such network" in result.output


def test_truth_yields_scores_and_metrics(project, images_and_weights, tmp_path, monkeypatch):
    folder, weights = images_and_weights
    truth, out = tmp_path / "truth", tmp_path / "out"
    truth.mkdir()
    for path in folder.rglob("*.png"):
        Image.fromarray(np.full((50, 70), 255, dtype=np.uint8)).save(truth / path.name)
    result = predict(project, monkeypatch, folder, out, "--weights", weights, "--truth", truth)
    assert result.exit_code == 0, result.output
    scores = pd.read_csv(out / "scores.csv")
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("ph2-segnet-prediction").experiment_id])
    assert run.data.metrics["mean_dice"] == pytest.approx(scores["dice"].mean())


def test_unreadable_image_has_own_exit_status(project, images_and_weights, tmp_path, monkeypatch):
    folder, weights = images_and_weights
    (folder / "bad.jpg").write_bytes(b"nothing")
    result = predict(project, monkeypatch, folder, tmp_path / "out", "--weights", weights)
    assert result.exit_code == SOME_FAILED
    assert len(pd.read_csv(tmp_path / "out" / "predictions.csv")) == 3


def test_invalid_requests_are_explained(project, images_and_weights, tmp_path, monkeypatch):
    folder, weights = images_and_weights
    for arguments, message in (
        ((folder, tmp_path / "out", "--weights", tmp_path / "no.safetensors"), "no such file"),
        ((tmp_path / "nowhere", tmp_path / "out", "--weights", weights), "does not exist"),
        ((folder, tmp_path / "out", "--weights", "no-run"), "is not a weights file"),
        ((folder, tmp_path / "out", "--weights", weights, "--threshold", "2"), "threshold is 2"),
    ):
        result = predict(project, monkeypatch, *arguments)
        assert result.exit_code == 1, result.output
        assert message in result.output
        assert "Traceback" not in result.output
