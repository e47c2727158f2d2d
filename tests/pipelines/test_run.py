"""kedro run, whole and in slices, on drawn cases."""

import json

import numpy as np
import pandas as pd
import pytest
from kedro.runner import ThreadRunner
from kedro.validation.exceptions import ParameterValidationError
from safetensors import safe_open

from lesion_segmentation.errors import InputError
from lesion_segmentation.hooks.origins import read_origins


def test_the_whole_run_makes_everything_and_labels_it_synthetic(run, project):
    run()
    reporting = project / "data" / "08_reporting"
    tables = {"architecture", "calibration", "case_metrics", "case_metrics_enhanced", "case_metrics_native",
              "metric_audit", "metrics_by_epoch", "native_scores", "native_size_comparison", "paper_architecture",
              "score_intervals", "subgroups", "table_ii", "table_ii_beside_paper", "table_ii_legacy", "threshold_sweep",
              "training_history"}  # fmt: skip
    figures = {"augmentation_preview", "before_and_after_resizing", "data_flow", "dataset_examples", "image_as_loaded",
               "metrics_by_epoch_curves", "network_layers", "predictions_beside_truth", "predictions_enhanced",
               "reliability_diagram", "split_overview", "training_curves"}  # fmt: skip
    files = {f"{name}.csv" for name in tables} | {f"{name}.png" for name in figures}
    assert {path.name for path in reporting.iterdir()} == files | {
        "dataset_passport.json",
        "made_by.json",
        "model_card.md",
        "report.html",
    }
    assert json.loads((reporting / "dataset_passport.json").read_text())["source"] == "synthetic"
    case_metrics, table = (pd.read_csv(reporting / name) for name in ("case_metrics.csv", "table_ii.csv"))
    assert set(case_metrics["source"]) == set(table["source"]) == {"synthetic"}
    assert set(table["prediction"]) == {"mirror_mean"}
    assert list(table["average"]) == ["per_image", "pooled"] * 6
    assert list(table["threshold"]) == [0.5] * 6 + [0.2] * 6
    with safe_open(project / "data" / "06_models" / "network.safetensors", "np") as file:
        metadata = {name: json.loads(text) for name, text in file.metadata().items()}
    assert (metadata["architecture"], metadata["width"], metadata["threshold"]) == ("segnet", 0.0625, 0.5)
    assert metadata["split_hash"]
    assert metadata["mlflow_run_id"]
    assert not list((project / "data").rglob(".*"))  # no temporary file is left


def test_scores_stay_from_the_test_cases_when_asked(run, project):
    run(params={"reporting.score_test": False})
    table = pd.read_csv(project / "data" / "08_reporting" / "table_ii.csv")
    assert set(table["subset"]) == {"train", "validation"}
    assert len(np.load(project / "data" / "07_model_output" / "probabilities.npz").files) == 15


def test_the_thread_runner_gives_the_same(run, project):
    run()
    path = project / "data" / "08_reporting" / "table_ii.csv"
    sequential = pd.read_csv(path)
    run(runner=ThreadRunner())
    pd.testing.assert_frame_equal(pd.read_csv(path), sequential)


def test_slices_run_from_what_is_there(run, project):
    run(pipeline_names=["data_processing"])
    run(pipeline_names=["augmentation"], params={"augmentation.copies": ["rotated", "flipped"]})
    samples = pd.read_csv(project / "data" / "05_model_input" / "samples.csv")
    assert set(samples["transform"]) == {"original", "rotated", "flipped"}
    run(tags=["training"])
    run(to_nodes=["reporting.predict_cases"], namespaces=["reporting"])
    assert not (project / "data" / "08_reporting" / "table_ii.csv").exists()
    run(from_nodes=["reporting.score_cases", "reporting.threshold_cases"])
    assert (project / "data" / "08_reporting" / "table_ii.csv").is_file()


def test_only_what_is_missing_is_made_again(run, project):
    run()
    network, table = (
        project / "data" / name for name in ("06_models/network.safetensors", "08_reporting/table_ii.csv")
    )
    before = network.stat().st_mtime_ns
    table.unlink()
    run(only_missing_outputs=True)
    assert table.is_file()
    assert network.stat().st_mtime_ns == before


def test_without_ph2_nothing_is_begun(run, project):
    with pytest.raises(InputError, match="make ph2 FROM="):
        run(env="cpu")
    assert not (project / "data").exists()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"training.epoch": 3}, "epoch"),
        ({"training.width": -1}, "width"),
        ({"split.protocol": "none"}, "protocol"),
        ({"reporting.mirror": True}, "mirror"),
    ],
)
def test_wrong_parameters_are_refused_before_any_work(run, project, params, message):
    with pytest.raises(ParameterValidationError, match=message):
        run(params=params)
    assert not (project / "data").exists()


def test_the_papers_settings_run(run, project):
    """conf/paper's recipe on drawn cases, which only its protocol cannot split."""
    paper = {"training.unpooling": "nearest", "training.scaling": "raw", "training.loss": "bce",
             "training.optimiser": "sgd", "training.schedule": "inverse_time", "training.ema_decay": 0,
             "training.on_the_fly.enabled": False, "augmentation.copies": ["rotated", "flipped"]}  # fmt: skip
    run(params=paper)
    history = pd.read_csv(project / "data" / "08_reporting" / "training_history.csv")
    assert len(pd.read_csv(project / "data" / "05_model_input" / "samples.csv")) == 15 + 2 * 12
    assert np.isfinite(history.to_numpy(float)).all()


def test_a_network_of_another_split_is_not_scored(run, project):
    """Its training cases may be test cases now."""
    run()
    with pytest.raises(InputError, match="trained under split"):
        run(params={"split.seed": 1}, pipeline_names=["data_processing", "augmentation", "reporting"])
    with pytest.raises(InputError, match="trained under split"):  # the maps are still those of the first split
        run(from_nodes=["reporting.score_cases", "reporting.threshold_cases"])


def test_samples_of_another_split_are_not_trained_on(run, project):
    """Stage by stage, with a split made anew in between: its test cases may be among the samples."""
    run()
    run(params={"split.seed": 1}, pipeline_names=["data_processing"])
    for pipeline in ("training", "reporting"):
        with pytest.raises(InputError, match="under split"):
            run(pipeline_names=[pipeline])


def test_the_papers_64_layers_are_drawn_whatever_was_trained(run, project):
    run()
    tables = {name: pd.read_csv(project / "data" / "08_reporting" / f"{name}.csv")
              for name in ("architecture", "paper_architecture")}  # fmt: skip
    assert tables["paper_architecture"]["number"].max() == 64
    assert tables["paper_architecture"].iloc[-1][["parameters", "statistics"]].tolist() == [33_377_795, 15_874]
    assert tables["architecture"]["number"].max() == 63  # demo leaves out the batch norm on the logit


def test_a_batch_larger_than_the_training_set_is_refused_before_any_work(run, project):
    with pytest.raises(InputError, match="batch_size is 13, but there are only 12 training samples"):
        run(params={"training.batch_size": 13})
    with pytest.raises(InputError, match="test cases are not there"):
        run(params={"split.protocol": "paper"})
    assert not (project / "data").exists()


def test_without_validation_cases_everything_else_is_made(run, project):
    run(params={"split.protocol": "overfit"})
    reporting = project / "data" / "08_reporting"
    assert set(pd.read_csv(reporting / "table_ii.csv")["subset"]) == {"train", "test"}
    assert set(pd.read_csv(reporting / "metrics_by_epoch.csv")["subset"]) == {"train"}


def test_each_file_names_the_run_that_made_it_and_a_mixture_is_told(run, project, capsys):
    run()
    first = read_origins(project / "data" / "08_reporting")
    assert len(set(first.values())) == 1
    assert {"table_ii.csv", "training_curves.png"} <= set(first)
    assert "holds files of" not in capsys.readouterr().out
    run(pipeline_names=["reporting"])
    second = read_origins(project / "data" / "08_reporting")
    assert second["training_history.csv"] == first["training_history.csv"]
    assert second["table_ii.csv"] != first["table_ii.csv"]
    assert "08_reporting holds files of 2 runs" in capsys.readouterr().out
