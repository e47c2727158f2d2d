"""Pipeline `comparison` on runs of this project."""

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError
from mlflow import MlflowClient

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.evaluation.comparison import find_changed_cases, pair_cases
from lesion_segmentation.report.comparison import draw_changed_cases


@pytest.fixture
def compare(run, project):
    """Compare two demo runs and return comparison.csv and changed_cases.csv."""

    def compare(baseline: str, candidate: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        params = {"comparison.baseline": baseline, "comparison.candidate": candidate}
        run(params=params, pipeline_names=["comparison"])
        reporting = project / "data" / "demo" / "08_reporting"
        return pd.read_csv(reporting / "comparison.csv"), pd.read_csv(reporting / "changed_cases.csv")

    return compare


def newest_run(project) -> str:
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("ph2-segnet-demo")
    return client.search_runs([experiment.experiment_id])[0].info.run_id


@pytest.mark.long
@pytest.mark.after_a_run
def test_two_runs_are_compared_case_by_case(run, project, compare):
    metrics = project / "data" / "demo" / "08_reporting" / "case_metrics.csv"
    first, before = newest_run(project), pd.read_csv(metrics)
    run(params={"training.seed": 1}, tags=["training", "prediction", "scores"])
    second, after = newest_run(project), pd.read_csv(metrics)
    comparison, changed = compare(first, second)
    row = comparison.set_index(["subset", "metric"]).loc[("test", "iou")]
    tested = [table[table["subset"] == "test"].set_index("case_id")["iou"] for table in (before, after)]
    assert row["n"] == 5
    assert row["difference"] == pytest.approx((tested[1] - tested[0]).mean())
    assert row["low"] <= row["difference"] <= row["high"]
    assert set(changed["subset"]) <= {"test"}
    assert (changed.loc[changed["change"] == "gained", "difference"] > 0).all()
    assert (project / "data" / "demo" / "08_reporting" / "changed_cases_page.png").is_file()
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    tracked = client.get_run(newest_run(project))
    assert tracked.data.params["comparison.baseline"] == first
    assert "changed_cases_page.png" in {entry.path for entry in client.list_artifacts(tracked.info.run_id)}


@pytest.fixture
def scored(finished) -> pd.DataFrame:
    return pd.read_csv(finished / "data" / "demo" / "08_reporting" / "case_metrics.csv")


def test_runs_with_different_cases_or_masks_are_refused(scored):
    fewer = scored[scored["case_id"] != scored["case_id"].iloc[-1]]
    with pytest.raises(InputError, match="test: 1 case scored only by the baseline"):
        pair_cases(scored, fewer)
    held_out = int((scored["subset"] != "train").sum())
    with pytest.raises(InputError, match=f"{held_out} cases have different masks"):
        pair_cases(scored, scored.assign(mask_hash="other"))
    trained = scored[scored["subset"] == "train"]
    with pytest.raises(InputError, match=f"{len(trained)} cases have different masks"):
        pair_cases(trained, trained.assign(mask_hash="other"))


def test_training_cases_may_differ(scored):
    trained = scored[scored["subset"] == "train"]
    added, corrected = trained["case_id"].iloc[0], trained["case_id"].iloc[1]
    candidate = scored.assign(mask_hash=scored["mask_hash"].where(scored["case_id"] != corrected, "corrected"))
    pairs = pair_cases(scored[scored["case_id"] != added], candidate)
    assert sorted({*scored["case_id"]} - {*pairs["case_id"]}) == sorted([added, corrected])


def test_figure_refuses_masks_other_than_those_scored(scored, finished):
    data = finished / "data" / "demo"
    images, masks = (dict(np.load(data / "03_primary" / f"{name}.npz")) for name in ("images", "masks"))
    predicted = dict(np.load(data / "07_model_output" / "predicted_masks.npz"))
    changed = find_changed_cases(pair_cases(scored, scored.assign(dice=scored["dice"] / 2)))
    assert draw_changed_cases(images, masks, predicted, predicted, changed).axes
    narrower = {case_id: mask[:, :64] for case_id, mask in masks.items()}
    with pytest.raises(InputError, match="differ from those of the compared runs"):
        draw_changed_cases(images, narrower, predicted, predicted, changed)


def test_runs_of_an_older_version_are_refused():
    older = pd.DataFrame({"subset": ["test"], "case_id": ["a"], "dice": [0.9]})
    with pytest.raises(InputError, match=r"the baseline has no sample_id.*an older version scored it"):
        pair_cases(older, older)


def test_everything_that_a_comparison_lacks_is_reported_before_it_starts(run, project):
    with pytest.raises(InputError) as caught:
        run(pipeline_names=["comparison"])
    assert len(caught.value.problems) == 4
    for missing in ("comparison.baseline is not given", "comparison.candidate is not given", "images.npz", "masks.npz"):
        assert missing in str(caught.value)
    assert str(caught.value).endswith("kedro run --env demo --pipelines=data_processing")
    assert not (project / "data").exists()


@pytest.mark.after_a_run
def test_unknown_run_is_reported_with_its_parameter(compare):
    with pytest.raises(DatasetError, match=r"comparison\.(baseline|candidate): MLflow has no .* of the run f0"):
        compare("f0" * 16, "f0" * 16)


def test_every_missing_input_of_a_slice_is_reported(run, project):
    with pytest.raises(InputError, match=r"(?s)guarded_samples.*sample_images.*split.*=data_processing,augmentation$"):
        run(pipeline_names=["training"])
    with pytest.raises(InputError, match=r"predictions is kept in memory only.*predict_input_images"):
        run(pipeline_names=["prediction"], from_nodes=["prediction.count_predictions"])
    assert not (project / "data").exists()
