"""A user's own pipeline and parameters, with metrics that are logged to MLflow."""

import pytest
from kedro.framework.project import pipelines
from kedro.pipeline import Node, Pipeline
from mlflow import MlflowClient

from lesion_segmentation.core.errors import InputError


def measure(factor: float) -> dict[str, float]:
    return {"own_score": 2 * factor}


@pytest.fixture
def own_pipeline(project, run):
    """A pipeline, its parameters and its catalog entry, as CONTRIBUTING describes."""
    (project / "conf" / "base" / "parameters_own.yml").write_text("own:\n  factor: 0.25\n")
    catalog = project / "conf" / "base" / "catalog_own.yml"
    catalog.write_text("own_scores:\n  type: MemoryDataset\n  metadata: {mlflow: metric}\n")
    return Pipeline([Node(measure, "params:own.factor", "own_scores", name="measure")])


def register(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Register a pipeline, as a line in pipeline_registry.py would."""
    registered = dict(pipelines)
    monkeypatch.setattr(
        pipelines, "_get_pipelines_registry_callable", lambda *_: lambda: registered | {"own": pipeline}
    )
    monkeypatch.setattr(pipelines, "_is_data_loaded", False, raising=False)


def test_own_parameters_are_accepted_and_own_metrics_logged(run, project, own_pipeline, monkeypatch):
    register(own_pipeline, monkeypatch)
    run(pipeline_names=["own"])
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("ph2-segnet-demo")
    (tracked,) = client.search_runs([experiment.experiment_id])
    assert tracked.data.metrics == {"own_score": 0.5}


def test_parameters_that_no_pipeline_uses_are_refused(run, project):
    (project / "conf" / "base" / "parameters_own.yml").write_text("trainning:\n  factor: 0.25\n")
    with pytest.raises(InputError, match="Unknown parameters: trainning"):
        run()


def log_by_itself(factor: float) -> float:
    import mlflow

    mlflow.log_metric("stray", factor)
    return factor


def test_logging_through_global_mlflow_functions_causes_a_warning(run, project, own_pipeline, monkeypatch, caplog):
    stray = Pipeline([Node(log_by_itself, "params:own.factor", "own_scores", name="log_by_itself")])
    register(stray, monkeypatch)
    monkeypatch.setattr("lesion_project.tracking.hooks._mark_of", lambda dataset: None)
    run(pipeline_names=["own"])
    assert "The node log_by_itself logged through MLflow's global functions" in caplog.text
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    assert {each.info.status for each in runs} == {"FINISHED"}  # ours and the stray one


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("parameters_place.yml", "experiment: elsewhere\n", "experiment in a parameters file has no effect"),
        ("../demo/parameters_more.yml", "data: {images: x}\n", r"data\.images in a parameters file has no effect"),
        (
            "catalog_versions.yml",
            "own_table: {type: lesion_project.datasets.Table, filepath: a.csv, versioned: true}\n",
            "versioned: true is set for own_table",
        ),
    ],
)
def test_configuration_without_effect_is_refused(run, project, file, text, message):
    (project / "conf" / "base" / file).write_text(text)
    with pytest.raises(InputError, match=message):
        run()
