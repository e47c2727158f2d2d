"""Complete and partial runs of `kedro run` on synthetic cases."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from PIL import Image
from safetensors import safe_open
from scipy.ndimage import label

from lesion_project.configuration import ProjectConfigLoader
from lesion_project.hooks.checks import check_parameters
from lesion_project.pipelines.training.nodes import _log_expected_time
from lesion_project.settings import CONFIG_LOADER_ARGS
from lesion_project.tracking.description import nest
from lesion_project.tracking.provenance import read_provenance
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.sources import synthetic
from lesion_segmentation.images.masks import binarize
from lesion_segmentation.model.segnet import SegNet
from lesion_segmentation.paper.split import TEST_CASES
from lesion_segmentation.training.settings import TrainingSettings


def read_tables(project: Path, *names: str) -> list[pd.DataFrame]:
    return [pd.read_csv(project / "data" / "demo" / "08_reporting" / f"{name}.csv") for name in names]


def test_complete_run_writes_all_files_and_labels_them_synthetic(finished):
    reporting = finished / "data" / "demo" / "08_reporting"
    tables = {"annotators", "architecture", "calibration", "case_metrics", "case_metrics_enhanced",
              "case_metrics_native", "metric_audit", "metrics_by_epoch", "native_scores",
              "native_size_comparison", "paper_architecture",
              "score_intervals", "subgroups", "table_ii", "table_ii_beside_paper", "table_ii_legacy", "threshold_sweep",
              "training_history"}  # fmt: skip
    figures = {"augmentation_preview", "before_and_after_resizing", "data_flow", "dataset_examples", "image_as_loaded",
               "metrics_by_epoch_curves", "network_layers", "predictions_beside_truth", "predictions_enhanced",
               "reliability_diagram", "split_overview", "training_curves"}  # fmt: skip
    files = {f"{name}.csv" for name in tables} | {f"{name}.png" for name in figures}
    assert {path.name for path in reporting.iterdir()} == files | {
        "dataset_passport.json",
        "provenance.json",
        "model_card.md",
        "report.html",
    }
    assert json.loads((reporting / "dataset_passport.json").read_text())["source"] == "synthetic"
    case_metrics, table = read_tables(finished, "case_metrics", "table_ii")
    assert set(case_metrics["source"]) == set(table["source"]) == {"synthetic"}
    assert set(table["test_time_augmentation"]) == {"four"}
    assert list(table["average"]) == ["per_image", "pooled"] * 6
    assert list(table["threshold"]) == [0.5] * 6 + [0.2] * 6
    assert list(table["threshold_role"]) == ["network"] * 6 + ["enhancement"] * 6
    assert not list((finished / "data").rglob(".*"))  # no temporary files remain


def test_network_metadata_contain_options_and_hashes(finished):
    with safe_open(finished / "data" / "demo" / "06_models" / "network.safetensors", "np") as file:
        metadata = {name: json.loads(text) for name, text in file.metadata().items()}
    assert metadata["architecture"] == "segnet_skip"
    assert metadata["options"] == {
        "width": 0.0625, "unpooling": "indices", "logit_batch_norm": False, "skip": 0.25, "context": "dilated",
        "annotation_styles": [],
    }  # fmt: skip
    assert (metadata["threshold"], metadata["input_size"], metadata["source"]) == (0.5, [64, 96], "synthetic")
    assert all(metadata[name] for name in ("split_hash", "data_hash", "mlflow_run_id", "commit"))


@pytest.mark.long
def test_partial_runs_use_existing_files(run, project):
    run(pipeline_names=["data_processing"])
    run(pipeline_names=["augmentation"], params={"augmentation.copies": ["rotated", "flipped"]})
    samples = pd.read_csv(project / "data" / "demo" / "05_model_input" / "samples.csv")
    assert set(samples["transform"]) == {"original", "rotated", "flipped"}
    run(tags=["training"])
    run(namespaces=["reporting.prediction"])
    table = project / "data" / "demo" / "08_reporting" / "table_ii.csv"
    assert not table.exists()
    run(from_nodes=["reporting.scores.score_cases"], to_nodes=["reporting.tables.summarize_cases"])
    assert table.is_file()
    assert not (table.parent / "subgroups.csv").exists()
    run(tags=["scores", "tables"])
    assert (table.parent / "subgroups.csv").is_file()
    assert not (table.parent / "training_curves.png").exists()


@pytest.mark.after_a_run
def test_only_missing_outputs_are_made_again(run, project):
    data = project / "data" / "demo"
    network, table = data / "06_models" / "network.safetensors", data / "08_reporting" / "table_ii.csv"
    before, scores = network.stat().st_mtime_ns, table.read_bytes()
    table.unlink()
    run(only_missing_outputs=True)
    assert table.read_bytes() == scores
    assert network.stat().st_mtime_ns == before


@pytest.mark.after_a_run
def test_environments_do_not_change_each_others_data(run, project):
    """Otherwise the cases of one environment could be scored as cases of another."""
    (project / "conf" / "mine").mkdir()
    shutil.copy(project / "conf" / "demo" / "catalog.yml", project / "conf" / "mine")
    before = {path: path.stat().st_mtime_ns for path in (project / "data" / "demo").rglob("*") if path.is_file()}
    run(env="mine", params={"split.protocol": "stratified"}, pipeline_names=["data_processing"])
    assert (project / "data" / "mine" / "03_primary" / "cases.csv").is_file()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert sorted(path.name for path in (project / "data").iterdir()) == ["demo", "mine"]


def test_missing_ph2_is_reported_before_any_work(run, project):
    with pytest.raises(InputError, match="make ph2 FROM="):
        run(env="cpu")
    assert not (project / "data").exists()


INVALID = {
    "training.epoch": (3, "training.epoch: no such parameter"),
    "training.epochs": (0, "training.epochs is 0, expected greater than or equal to 1"),
    "training.width": (0.001, "training.width is 0.001, expected greater than or equal to 0.015625"),
    "training.seed": (-1, "training.seed is -1, expected greater than or equal to 0"),
    "split.seed": (2**32, "split.seed is 4294967296, expected less than 4294967296"),
    "augmentation.seed": (1_764_100_000_000, "augmentation.seed is 1764100000000, expected less than"),
    "training.learning_rate": (float("inf"), "training.learning_rate is inf, expected a finite number"),
    "training.momentum": (float("nan"), "training.momentum is nan, expected a finite number"),
    "training.device": ("gpu", "training.device is 'gpu', expected 'auto', 'cpu' or 'cuda'"),
    "training.online_augmentation.rotation": (
        720,
        "training.online_augmentation.rotation is 720, expected less than or equal to 180",
    ),
    "training.validation_scores": (["modern"], "training.validation_scores has modern, expected some of: legacy"),
    "split.protocol": (
        "none",
        "split.protocol is 'none', expected one of: stratified, folds, given, overfit, paper, paper_",
    ),
    "split.fold": (5, "split.fold is 5, expected less than 5"),
    "image_size.height": (8, "image_size.height is 8, expected greater than or equal to 32"),
    "augmentation.copies": (["turned"], "augmentation.copies contains turned, expected some of: rotated, flipped"),
    "prediction.test_time_augmentation": ("three", "is 'three', expected 'none', 'four' or 'eight'"),
    "reporting.enhanced_threshold": (0.5, "reporting.enhanced_threshold is 0.5, expected less than 0.5"),
    "leak_guard.max_distance": (300, "leak_guard.max_distance is 300, expected less than or equal to 256"),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_values_are_refused(name):
    value, message = INVALID[name]
    changed = nest({name: value})
    loader = ProjectConfigLoader(str(ROOT / "conf"), "demo", runtime_params=changed, **CONFIG_LOADER_ARGS)
    with pytest.raises(InputError) as caught:
        check_parameters(loader["parameters"])
    assert message in str(caught.value)
    assert "1 problem" in str(caught.value)


def test_all_invalid_values_are_in_one_report_before_any_work(run, project):
    with pytest.raises(InputError) as caught:
        run(params={name: value for name, (value, _) in INVALID.items()})
    assert f"{len(INVALID)} problems" in str(caught.value)
    assert "pydantic" not in str(caught.value)
    assert [message for _, message in INVALID.values() if message not in str(caught.value)] == []
    assert not (project / "data").exists()


@pytest.mark.parametrize("name", ["training.device", "prediction.device"])
def test_missing_gpu_is_reported_before_any_work(run, project, monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=rf"{name} is cuda, but PyTorch finds no GPU"):
        run(params={name: "cuda"})
    with pytest.raises(InputError, match=r"The architecture is 'unet', expected one of: monai, segnet"):
        run(params={"training.architecture": "unet"})
    assert not (project / "data").exists()


@pytest.fixture
def synthetic_ph2(project) -> Path:
    """Synthetic cases with the names of PH2 cases: the paper's 50 test cases and twelve others."""
    folder = project / "data" / "01_raw" / "ph2"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    case_ids = sorted([*TEST_CASES, *(f"IMD{number}" for number in range(500, 512))])
    text = synthetic.annotations_text(len(case_ids))
    for number, case_id in enumerate(case_ids, start=1):
        case = synthetic.synthesize_case(number)
        Image.fromarray(case.image).save(folder / "images" / f"{case_id}.bmp")
        Image.fromarray(case.mask).save(folder / "masks" / f"{case_id}.bmp")
        text = text.replace(f"SYN{number:03d}", case_id)
    (folder / "PH2_dataset.txt").write_text(text)
    return folder


@pytest.mark.long
def test_environment_paper_runs(run, project, synthetic_ph2):
    run(env="paper", params={"split.validation_cases": 3})
    data = project / "data" / "paper"
    samples = pd.read_csv(data / "05_model_input" / "samples.csv")
    assert samples["transform"].value_counts().to_dict() == {"original": 62, "rotated": 9, "flipped": 9}
    history = pd.read_csv(data / "08_reporting" / "training_history.csv")
    assert history[["validation_legacy_iou", "validation_legacy_dice"]].notna().all(axis=None)
    with safe_open(data / "06_models" / "network.safetensors", "np") as file:
        metadata = {name: json.loads(text) for name, text in file.metadata().items()}
    assert metadata["options"] == {"width": 0.0625, "unpooling": "nearest", "logit_batch_norm": True}
    assert metadata["input_mean"] == [0, 0, 0]
    table = pd.read_csv(data / "08_reporting" / "table_ii_beside_paper.csv")
    assert set(table.loc[table["source"] != "paper", "test_time_augmentation"]) == {"none"}
    leak = {"split.protocol": "paper_leaky", "leak_guard.allow_leak": True}
    run(env="paper", params=leak, pipeline_names=["data_processing", "augmentation"])
    samples = pd.read_csv(data / "05_model_input" / "samples.csv")
    assert samples["subset"].value_counts().to_dict() == {"test": 50, "train": 28, "validation": 8}


@pytest.mark.after_a_run
def test_network_of_another_split_is_not_scored(run, project):
    """The training cases of the network may be test cases of this split."""
    with pytest.raises(InputError, match="trained under split"):
        run(params={"split.seed": 1}, pipeline_names=["data_processing", "augmentation", "reporting"])
    with pytest.raises(InputError, match="trained under split"):  # the probabilities are still those of the first split
        run(namespaces=["reporting.scores"])


@pytest.mark.after_a_run
def test_network_of_other_data_or_another_size_is_not_scored(run, project):
    stages = ["data_processing", "augmentation", "reporting"]
    with pytest.raises(InputError, match="it was trained on images of 64 x 96, but the current images are 64 x 64"):
        run(params={"image_size.width": 64}, pipeline_names=stages)
    catalog = project / "conf" / "demo" / "catalog.yml"
    catalog.write_text(catalog.read_text().replace("cases: 20", "cases: 21"))
    with pytest.raises(
        InputError, match=r"2 problems\n(.*\n)?.*it was trained on data \w+, but the current data are \w+"
    ):
        run(pipeline_names=stages)


@pytest.mark.after_a_run
def test_samples_of_another_split_are_not_trained_on(run, project):
    """If only the split is changed, its test cases may be among the existing training samples."""
    run(params={"split.seed": 1}, pipeline_names=["data_processing"])
    for pipeline in ("training", "reporting"):
        with pytest.raises(InputError, match="under split"):
            run(pipeline_names=[pipeline])


def test_paper_architecture_has_64_layers_for_any_trained_network(finished):
    trained, paper = read_tables(finished, "architecture", "paper_architecture")
    assert paper["number"].max() == 64
    assert paper.iloc[-1][["parameters", "statistics"]].tolist() == [33_377_795, 15_874]
    assert trained["number"].max() > 64  # the skips and the dilated context have further layers


def test_batch_larger_than_the_training_set_is_refused_before_any_work(run, project):
    with pytest.raises(InputError, match="batch_size is 13, but the training set has only 12 samples"):
        run(params={"training.batch_size": 13})
    with pytest.raises(InputError, match="test cases are missing"):
        run(params={"split.protocol": "paper"})
    assert not (project / "data").exists()


REMEDY = ". A smaller width, fewer epochs or another recipe of docs/how_to/recipes.md takes less time."


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        (0.4, "Training on the CPU will take less than a minute"),
        (12, "Training on the CPU will take about 12 minutes"),
        (60, f"Training on the CPU will take about 60 minutes{REMEDY}"),
        (120, f"Training on the CPU will take about 2.0 hours{REMEDY}"),
    ],
)
def test_expected_time_is_logged_once(caplog, monkeypatch, minutes, expected):
    monkeypatch.setattr("lesion_segmentation.core.hardware.estimate_minutes", lambda *_: minutes)
    settings, samples = TrainingSettings(device="cpu"), pd.DataFrame({"subset": ["train"]})
    network = SegNet(width=1 / 16)
    network.metadata = replace(network.metadata, input_size=(64, 96))
    with caplog.at_level("INFO"):
        _log_expected_time(network, settings, samples)
    assert caplog.messages == [expected]


def test_expected_time_counts_the_images_of_each_source_and_size(monkeypatch):
    counts = []

    def estimate(network, height, width, images, precision):
        counts.append(images)
        return 1.0

    monkeypatch.setattr("lesion_segmentation.core.hardware.estimate_minutes", estimate)
    samples = pd.DataFrame({"subset": ["train"] * 12 + ["test"], "source": ["PH2"] * 4 + ["ISIC 2018"] * 8 + ["PH2"]})
    network = SegNet(width=1 / 16)
    network.metadata = replace(network.metadata, input_size=(64, 96))
    changes = {"epochs": 10, "source_rates": {"PH2": 3, "ISIC 2018": 0.25}}
    for fraction in (0, 0.8):
        settings = TrainingSettings(device="cpu", half_size_fraction=fraction, **changes)
        _log_expected_time(network, settings, samples)
    assert counts == [14 * 10, 14 * 2 + 14 * 8 / 4]


def test_half_size_that_the_network_cannot_take_is_refused_before_any_work(run, project):
    small = {"training.architecture": "segnet", "image_size.height": 48, "image_size.width": 64}
    with pytest.raises(InputError, match=r"half_size_fraction is 0.5, but SegNet-v2 .* cannot take images of 24 x 32"):
        run(params=small | {"training.half_size_fraction": 0.5})
    assert not (project / "data").exists()


@pytest.mark.long
def test_run_without_validation_cases_writes_everything_else(run, project):
    run(params={"split.protocol": "overfit"})
    table, epochs = read_tables(project, "table_ii", "metrics_by_epoch")
    assert set(table["subset"]) == {"train", "test"}
    assert set(epochs["subset"]) == {"train"}


@pytest.mark.after_a_run
def test_files_of_several_runs_are_reported_with_their_provenance(run, project, capsys):
    reporting = project / "data" / "demo" / "08_reporting"
    first = read_provenance(reporting)
    assert len(set(first.values())) == 1
    assert {"table_ii.csv", "training_curves.png"} <= set(first)
    run(namespaces=["reporting.tables"])
    second = read_provenance(reporting)
    assert second["training_history.csv"] == first["training_history.csv"]
    assert second["table_ii.csv"] != first["table_ii.csv"]
    assert "08_reporting holds files of 2 runs" in capsys.readouterr().out


@pytest.mark.after_a_run
def test_start_after_a_node_with_outputs_in_memory_is_refused(run):
    for node in ("initialize_network", "fit_network"):
        with pytest.raises(InputError, match=r"is kept in memory only.*--from-nodes=training\.\w+"):
            run(from_nodes=[f"training.{node}"])
    run(from_nodes=["training.choose_initialization"], to_nodes=["training.initialize_network"])


@pytest.mark.long
@pytest.mark.after_a_run
def test_training_is_not_resumed_on_images_resized_with_another_filter(run):
    """With the scaling `raw`, mean and deviation are the same for both filters and do not reveal the difference."""
    run(params={"training.scaling": "raw"})
    with pytest.raises(InputError, match=r"resizing: cubic in the checkpoint, linear now"):
        run(params={"training.scaling": "raw", "training.resume": True, "image_size.resizing": "linear"})


@pytest.mark.long
@pytest.mark.after_a_run
def test_largest_component_is_kept_in_masks_and_scores_but_probabilities_stay(run, project):
    root = project / "data" / "demo"
    with np.load(root / "07_model_output" / "probabilities.npz") as file:
        before = dict(file)
    run(pipeline_names=["reporting"], params={"prediction.keep_largest_component": True})
    with np.load(root / "07_model_output" / "probabilities.npz") as file:
        assert all(np.array_equal(file[name], before[name]) for name in before)
    case_metrics = pd.read_csv(root / "08_reporting" / "case_metrics.csv").set_index("sample_id")
    assert case_metrics["keep_largest_component"].all()
    with np.load(root / "07_model_output" / "predicted_masks.npz") as masks:
        changed = 0
        for name, case in case_metrics.iterrows():
            mask, plain = masks[name], before[name] > case["threshold"]
            assert label(mask, np.ones((3, 3)))[1] <= 1
            assert case["tp"] + case["fp"] == mask.sum()
            changed += not np.array_equal(mask, plain)
        assert changed  # after two epochs, masks have several components
    assert "largest connected component" in (root / "08_reporting" / "report.html").read_text()
    assert "largest connected component" in (root / "08_reporting" / "model_card.md").read_text()


@pytest.mark.long
def test_project_runs_without_the_package_paper(tmp_path, empty_project):
    """Run --env demo in a separate process without paper/, conf/paper and the protocol in conf/base."""
    project = tmp_path / "project"
    shutil.copytree(empty_project, project)
    source = Path(synthetic.__file__).parents[2]
    shutil.copytree(source, project / "src" / "lesion_segmentation", ignore=shutil.ignore_patterns("__pycache__"))
    paper = project / "src" / "lesion_segmentation" / "paper"
    shutil.rmtree(paper)
    (paper / "__pycache__").mkdir(parents=True)  # git does not remove stale bytecode
    shutil.rmtree(project / "conf" / "paper")
    parameters = project / "conf" / "base" / "parameters_data_processing.yml"
    lines = parameters.read_text().splitlines(keepends=True)
    parameters.write_text("".join(line for line in lines if "protocol:" not in line))
    done = run_command(project, "image_size.height=64,image_size.width=96,training.width=0.0625,training.epochs=1")
    assert done.returncode == 0, done.stderr
    reporting = project / "data" / "demo" / "08_reporting"
    assert "Table II" in (reporting / "report.html").read_text()
    assert (reporting / "table_ii.csv").is_file()
    assert not (reporting / "table_ii_legacy.csv").exists()


def run_command(project: Path, params: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kedro", "run", "--env", "demo", "--params", params]
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    environment.pop("MLFLOW_TRACKING_URI", None)  # set by an earlier run in this process
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def test_probabilities_and_masks_are_saved_completely(finished):
    probabilities, masks = (np.load(finished / "data" / "demo" / "07_model_output" / f"{name}.npz")
                   for name in ("probabilities", "predicted_masks"))  # fmt: skip
    assert len(probabilities.files) == len(masks.files) == 20
    assert all(
        np.array_equal(binarize(probabilities[name], 0.5, keep_largest_component=True), masks[name])
        for name in probabilities.files
    )
