"""`kedro run --pipelines=comparison` on runs of this project."""

import pandas as pd
import pytest
from kedro.io import DatasetError
from mlflow import MlflowClient

from lesion_segmentation.errors import InputError
from lesion_segmentation.evaluation.comparison import pair_cases


@pytest.fixture
def compare(run, project):
    """Compare two runs of the demo and give comparison.csv and changed_cases.csv."""

    def compare(baseline: str, candidate: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        params = {"comparison.baseline": baseline, "comparison.candidate": candidate}
        run(params=params, pipeline_names=["comparison"])
        reporting = project / "data" / "08_reporting"
        return pd.read_csv(reporting / "comparison.csv"), pd.read_csv(reporting / "changed_cases.csv")

    return compare


def newest_run(project) -> str:
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("ph2-segnet-demo")
    return client.search_runs([experiment.experiment_id])[0].info.run_id


def test_two_runs_are_compared_case_by_case(run, project, compare):
    metrics = []
    runs = []
    for seed in (0, 1):
        run(params={"training.seed": seed})
        runs.append(newest_run(project))
        metrics.append(pd.read_csv(project / "data" / "08_reporting" / "case_metrics.csv"))
    comparison, changed = compare(*runs)
    row = comparison.set_index(["subset", "metric"]).loc[("test", "iou")]
    of_test = [table[table["subset"] == "test"].set_index("case_id")["iou"] for table in metrics]
    assert row["n"] == 5
    assert row["difference"] == pytest.approx((of_test[1] - of_test[0]).mean())
    assert row["low"] <= row["difference"] <= row["high"]
    assert set(changed["subset"]) <= {"test"}
    assert (changed.loc[changed["change"] == "gained", "difference"] > 0).all()
    assert (project / "data" / "08_reporting" / "changed_cases_page.png").is_file()
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    tracked = client.get_run(newest_run(project))
    assert tracked.data.params["comparison.baseline"] == runs[0]
    assert "changed_cases_page.png" in {entry.path for entry in client.list_artifacts(tracked.info.run_id)}


def test_runs_on_other_cases_or_masks_are_refused(run, project, compare):
    run()
    first = newest_run(project)
    run(params={"split.seed": 1})
    with pytest.raises(InputError, match="cases were scored by the baseline alone"):
        compare(first, newest_run(project))
    run(params={"image_size.width": 64})
    with pytest.raises(InputError, match="20 cases have other masks"):
        compare(first, newest_run(project))


def test_pictures_of_other_cases_or_sizes_are_not_drawn_on(run, project, compare):
    run()
    first = newest_run(project)
    run(params={"training.seed": 1})
    second = newest_run(project)
    run(params={"image_size.width": 64}, pipeline_names=["data_processing"])
    with pytest.raises(InputError, match="other cases or sizes than those runs scored"):
        compare(first, second)


def test_runs_of_an_older_version_are_told():
    older = pd.DataFrame({"subset": ["test"], "case_id": ["a"], "dice": [0.9]})
    with pytest.raises(InputError, match=r"the baseline has no sample_id.*an older version made it"):
        pair_cases(older, older)


def test_a_run_that_is_missing_is_told(run, project, compare):
    with pytest.raises(DatasetError, match=r"Which run\? Name it with --params comparison.baseline="):
        run(pipeline_names=["comparison"])
    with pytest.raises(DatasetError, match=r"MLflow has no case_metrics\.csv of it"):
        compare("0" * 32, "0" * 32)
