"""A pipeline and a group of parameters of one's own, with MLflow's marks."""

import pytest
from kedro.framework.project import pipelines
from kedro.pipeline import Node, Pipeline
from mlflow import MlflowClient

from lesion_segmentation.errors import InputError


def measure(factor: float) -> dict[str, float]:
    return {"own_score": 2 * factor}


@pytest.fixture
def own_pipeline(project, run):
    """As CONTRIBUTING says: a pipeline, its parameters and its catalog entry."""
    (project / "conf" / "base" / "parameters_own.yml").write_text("own:\n  factor: 0.25\n")
    catalog = project / "conf" / "base" / "catalog_own.yml"
    catalog.write_text("own_scores:\n  type: MemoryDataset\n  metadata: {mlflow: metric}\n")
    return Pipeline([Node(measure, "params:own.factor", "own_scores", name="measure")])


def test_its_parameters_are_known_and_its_metrics_are_logged(run, project, own_pipeline, monkeypatch):
    registered = dict(pipelines)
    monkeypatch.setattr(
        pipelines, "_get_pipelines_registry_callable", lambda *_: lambda: registered | {"own": own_pipeline}
    )
    monkeypatch.setattr(pipelines, "_is_data_loaded", False, raising=False)
    run(pipeline_names=["own"])
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("ph2-segnet-demo")
    (tracked,) = client.search_runs([experiment.experiment_id])
    assert tracked.data.metrics == {"own_score": 0.5}


def test_a_group_that_no_pipeline_takes_is_refused(run, project):
    (project / "conf" / "base" / "parameters_own.yml").write_text("trainning:\n  factor: 0.25\n")
    with pytest.raises(InputError, match="Unknown parameters: trainning"):
        run()
