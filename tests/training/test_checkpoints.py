"""An interrupted and resumed training ends with the weights of an uninterrupted one."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from safetensors import safe_open
from safetensors.torch import save

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.tensor_files import read_tensors, write_tensors
from lesion_segmentation.model import Network, load_network
from lesion_segmentation.prediction import predict
from lesion_segmentation.training import checkpoints
from lesion_segmentation.training.callbacks import Callbacks
from lesion_segmentation.training.checkpoints import CheckpointFile
from lesion_segmentation.training.loop import fit
from lesion_segmentation.training.samples import TrainingData
from lesion_segmentation.training.settings import TrainingSettings

QUICK = {
    "architecture": "segnet_skip", "loss": "bce_iou", "width": 0.0625, "epochs": 4, "batch_size": 4, "device": "cpu",
    "precision": "32-true",
}  # fmt: skip
RECIPES = [
    {},
    {"optimizer": "sgd", "schedule": "inverse_time", "loss": "bce", "ema_decay": 0},
    {"loss": "bce_dice", "unpooling": "nearest"},
    {"encoder_learning_rate": 0.0005},
    {"half_size_fraction": 0.5},
]
KILLS = int(os.environ.get("KILLS", "3"))


class Interrupted(Exception):
    """Stands in for whatever ends a process."""


@pytest.fixture(scope="module")
def data(images, masks, cases) -> TrainingData:
    samples = pd.DataFrame({"sample_id": cases["case_id"][:14], "subset": ["train"] * 10 + ["validation"] * 4})
    return TrainingData(images, masks, samples)


def interrupt_after(epoch: int) -> Callbacks:
    def on_epoch(row) -> None:
        if row["epoch"] == epoch:
            raise Interrupted

    return Callbacks(on_epoch, run_id="first")


@pytest.fixture(scope="module", params=range(len(RECIPES)))
def uninterrupted(request, data) -> tuple[TrainingSettings, Network, pd.DataFrame]:
    """Settings of a recipe, and network and history of an uninterrupted training."""
    settings = TrainingSettings(**(QUICK | RECIPES[request.param]))
    return settings, *fit(data, settings)


@pytest.mark.parametrize("epoch", [1, 3])
def test_resumed_training_ends_with_identical_weights(data, tmp_path, uninterrupted, epoch):
    settings, whole, whole_history = uninterrupted
    file = CheckpointFile(tmp_path / "checkpoint.safetensors")
    with pytest.raises(Interrupted):
        fit(data, settings, interrupt_after(epoch), file)
    rows: list[dict[str, float]] = []
    resumed_from: list[str] = []
    callbacks = Callbacks(rows.append, resumed_from.append, "second")
    resumed, history = fit(data, settings.model_copy(update={"resume": True}), callbacks, file)
    expected = whole.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in resumed.state_dict().items())
    pd.testing.assert_frame_equal(history.drop(columns="seconds"), whole_history.drop(columns="seconds"))
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]  # the whole curve
    assert resumed_from == ["first"]
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_resume_without_checkpoint_starts_afresh_and_checkpoint_without_resume_is_ignored(data, tmp_path):
    file = CheckpointFile(tmp_path / "checkpoint.safetensors")
    settings = TrainingSettings(**QUICK)
    one, _ = fit(data, settings.model_copy(update={"resume": True}), checkpoint_file=file)
    two, history = fit(data, settings, checkpoint_file=file)
    assert len(history) == 4
    assert all(torch.equal(tensor, one.state_dict()[name]) for name, tensor in two.state_dict().items())


def test_last_epoch_is_written_although_no_checkpoint_is_due(data, tmp_path):
    file = CheckpointFile(tmp_path / "checkpoint.safetensors", seconds_between=3600)
    fit(data, TrainingSettings(**QUICK), checkpoint_file=file)
    assert file.epochs == QUICK["epochs"]


def test_checkpoint_of_another_configuration_is_refused_with_the_differences(data, tmp_path):
    file = CheckpointFile(tmp_path / "checkpoint.safetensors")
    fit(data, TrainingSettings(**QUICK), checkpoint_file=file)
    other = TrainingSettings(**(QUICK | {"learning_rate": 0.5, "resume": True}))
    with pytest.raises(InputError) as caught:
        fit(data._replace(samples=data.samples[:-1]), other, checkpoint_file=file)
    assert "training.learning_rate: 0.002 in the checkpoint, 0.5 now" in str(caught.value)
    assert "samples:" in str(caught.value)
    assert "2 problems" in str(caught.value)


def test_training_on_soft_targets_does_not_resume_one_on_binary_masks(data, tmp_path):
    file = CheckpointFile(tmp_path / "checkpoint.safetensors")
    settings = TrainingSettings(**QUICK, resume=True)
    with pytest.raises(Interrupted):
        fit(data, settings, interrupt_after(1), file)
    soft = {sample_id: data.masks[sample_id].astype(np.float32) for sample_id in data.sample_ids}
    with pytest.raises(InputError, match=r"targets: .* in the checkpoint, soft now"):
        fit(data._replace(masks=soft), settings, checkpoint_file=file)


def test_checkpoint_holds_plain_data_and_damage_is_reported(data, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    settings = TrainingSettings(**(QUICK | {"epochs": 1, "resume": True}))
    fit(data, settings, checkpoint_file=CheckpointFile(path))
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["configuration"])["training.width"] == 0.0625
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="or it is damaged"):
        fit(data, settings, checkpoint_file=CheckpointFile(path))


def rewritten(path: Path, **changes: object) -> CheckpointFile:
    """Rewrite a checkpoint with other metadata and a valid digest; None removes a key."""
    tensors, metadata = read_tensors(path)
    changed = {key: value for key, value in {**metadata, **changes}.items() if value is not None}
    content = {key: value for key, value in changed.items() if key not in ("format_version", "digest")}
    write_tensors(path, tensors, changed | {"digest": checkpoints._digest(content)})
    return CheckpointFile(path)


def test_missing_setting_of_an_older_checkpoint_means_its_default_and_other_formats_are_refused(data, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    settings = TrainingSettings(**(QUICK | {"epochs": 1, "resume": True}))
    fit(data, settings, checkpoint_file=CheckpointFile(path))
    _, metadata = read_tensors(path)
    older = {name: value for name, value in metadata["configuration"].items() if name != "training.validation_scores"}
    _, history = fit(data, settings, checkpoint_file=rewritten(path, configuration=older))
    assert len(history) == 1
    fit(data, settings.model_copy(update={"resume": False}), checkpoint_file=CheckpointFile(path))
    tensors, metadata = read_tensors(path)
    first = {name: json.dumps(metadata[name]) for name in ("values", "history", "configuration")}
    path.write_bytes(save(tensors, metadata=first | {"run_id": "0123abcd"}))  # as version 0.1.0 wrote it
    with pytest.raises(InputError, match="another version of this project wrote it"):
        CheckpointFile(path).read({})
    for changes in ({"format_version": 99}, {"format_version": None}, {"color": "red"}, {"history": None}):
        fit(data, settings.model_copy(update={"resume": False}), checkpoint_file=CheckpointFile(path))
        with pytest.raises(
            InputError, match=r"is not a checkpoint of this project, or it is damaged \(.*Train from the start"
        ):
            rewritten(path, **changes).read({})


def test_checkpoint_of_version_4_resumes(tmp_path):
    """Names of settings were renamed since. `version_4` holds the weights of the same training without interruption."""
    generator = np.random.default_rng(0)
    ids = [f"c{number}" for number in range(6)]
    images = {sample_id: generator.integers(0, 256, (32, 32, 3), dtype=np.uint8) for sample_id in ids}
    masks = dict.fromkeys(ids, np.pad(np.ones((16, 16), np.uint8), 8))
    samples = pd.DataFrame(
        {"sample_id": ids, "subset": ["train"] * 4 + ["validation"] * 2, "source": ["PH2", "ISIC 2018"] * 3}
    )
    settings = TrainingSettings(
        architecture="segnet_skip", width=1 / 64, logit_batch_norm=False, loss="bce_iou", epochs=2, batch_size=2,
        options={"annotation_styles": ["PH2", "ISIC 2018"]}, source_rates={"PH2": 2}, device="cpu", threads=1,
        precision="32-true", resume=True,
    )  # fmt: skip
    path = Path(shutil.copy(Path(__file__).with_name("checkpoint_4.safetensors"), tmp_path))
    resumed: list[str] = []
    callbacks = Callbacks(on_resume=resumed.append)
    network, history = fit(TrainingData(images, masks, samples), settings, callbacks, CheckpointFile(path))
    assert resumed == ["first"]
    assert list(history["epoch"]) == [1, 2]
    expected = load_network(Path(__file__).parents[1] / "model" / "version_4.safetensors")
    pixels = np.stack(list(images.values()))
    # Processors round differently, which changes probabilities by up to 0.0002. Without the moments of the optimizer,
    # they would change by more than 0.0004, without the second epoch by 0.01.
    assert np.allclose(*(predict(each, pixels, precision="32-true") for each in (network, expected)), atol=3e-4)


def test_full_disk_leaves_the_former_checkpoint(data, mount_disk):
    """The disk holds one checkpoint, but not a second one beside it."""
    path = mount_disk("300k") / "checkpoint.safetensors"
    rows: list[dict[str, float]] = []
    settings = TrainingSettings(**(QUICK | {"width": 1 / 64}))
    with pytest.raises(InputError, match=r"No space left on device\. An existing file is unchanged"):
        fit(data, settings, Callbacks(rows.append), CheckpointFile(path))
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert [row["epoch"] for row in rows] == [1]
    resumed: list[str] = []
    callbacks = Callbacks(on_resume=resumed.append)
    with pytest.raises(InputError, match="No space left"):  # in the second epoch, since the first one is not lost
        fit(data, settings.model_copy(update={"resume": True}), callbacks, CheckpointFile(path))
    assert len(resumed) == 1


def start(project: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "kedro", "run", "--env", "demo", "--pipelines", "training", *options]
    return subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.xdist_group("whole machine")
@pytest.mark.long
@pytest.mark.after_a_run
def test_training_survives_kills_at_random_times(run, project):
    """Set KILLS=20 for more kills than by default."""
    # These are the demo's own settings, with which `start` trains in another process.
    demo = {"training.architecture": "segnet", "training.ema_decay": 0.9}
    run(params={**demo, "training.epochs": 60, "training.precision": "32-true"}, pipeline_names=["training"])
    models = project / "data" / "demo" / "06_models"
    expected = load_tensors(models / "network.safetensors")
    for name in ("network", "training_checkpoint"):
        (models / f"{name}.safetensors").unlink()
    params = "image_size.height=64,image_size.width=96,training.width=0.0625,training.batch_size=4,training.resume=true"
    options = ("--params", f"{params},training.epochs=60,training.precision=32-true")
    generator = np.random.default_rng(0)
    for _ in range(KILLS):
        process = start(project, *options)
        wait_for_training(project, process)
        time.sleep(generator.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(project, *options).wait() == 0
    found = load_tensors(models / "network.safetensors")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    assert {path.name for path in models.iterdir()} == {
        "provenance.json",
        "network.safetensors",
        "training_checkpoint.safetensors",
    }
    last, *earlier = tracked_runs(project)
    assert last.info.status == "FINISHED"
    assert "resumed_from" in last.data.tags
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    assert len(client.get_metric_history(last.info.run_id, "train_dice")) == 60
    assert "RUNNING" not in {run.info.status for run in earlier}


def tracked_runs(project: Path) -> list:
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("ph2-segnet-demo")
    return list(client.search_runs([experiment.experiment_id]))


def wait_for_training(project: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until the run of this process has logged an epoch to MLflow, or has ended."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        newest = tracked_runs(project)[0]
        if newest.data.tags.get("pid") == str(process.pid) and "train_dice" in newest.data.metrics:
            return
        time.sleep(0.1)


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
