"""Names, tags and descriptions by which runs can be distinguished."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from lesion_project.hooks.summary import _list_addresses
from lesion_project.tracking.description import Description, describe_run
from lesion_project.tracking.run import TrackedRun
from lesion_project.tracking.store import resolve_experiment
from lesion_segmentation.core.errors import InputError

ROOT = Path(__file__).parents[2]
TRAINED = {"training": {"seed": 3}, "split": {"protocol": "stratified", "fold": 0}}
FOLD = {"training": {"seed": 3}, "split": {"protocol": "folds", "fold": 2}}


def tracked_runs(project: Path, experiment: str = "ph2-segnet-demo") -> list[Run]:
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    return list(client.search_runs([client.get_experiment_by_name(experiment).experiment_id]))


@pytest.mark.parametrize(
    ("run_params", "parameters", "begin", "command"),
    [
        ({"env": "cpu"}, TRAINED, "seed 3 stratified cpu", "kedro run --env cpu"),
        ({"runtime_params": {"split": {"fold": 2}}}, FOLD, "fold 2 seed 3 base", "kedro run --params split.fold=2"),
        (
            {"runtime_params": {"training": {"width": 0.5, "seed": 3}, "data_root": "a b", "parent_run": "1"}},
            TRAINED,
            "seed 3 width=0.5 stratified base",
            "kedro run --params 'training.width=0.5,training.seed=3,data_root=a b'",
        ),
        ({"pipeline_names": ["training"]}, {}, "base training", "kedro run --pipelines training"),
        ({"tags": ["figures"]}, {}, "base tags figures", "kedro run --tags figures"),
        ({"node_names": ["a", "b"]}, {}, "base node names a,b", "kedro run --nodes a,b"),
        ({"from_nodes": ["a"]}, {}, "base from nodes a", "kedro run --from-nodes a"),
        (
            {"runtime_params": {"image_size": {"width": 96}, "training": {"width": None}}, "runner": "ThreadRunner"},
            {},
            "image_size.width=96 training.width=None base",
            "kedro run --runner ThreadRunner --params image_size.width=96,training.width=null",
        ),
    ],
)
def test_name_starts_with_differences_and_command_repeats_the_run(run_params, parameters, begin, command):
    described = describe_run("run", run_params, parameters, ROOT)
    assert described.name.startswith(f"{begin} ")
    assert described.tags["kedro_command"] == command
    assert command in described.tags["mlflow.note.content"]


def test_run_has_source_user_and_description(finished):
    (tracked,) = tracked_runs(finished)
    tags = tracked.data.tags
    assert tags["mlflow.runName"].startswith("seed 0 height=64 image_size.width=96")
    assert tags["kedro_command"].startswith("kedro run --env demo --params image_size.height=64,")
    assert tags["mlflow.source.type"] == "LOCAL"
    assert tags["mlflow.source.name"] == Path(sys.argv[0]).name
    assert tags["mlflow.user"]
    assert tags["kedro_command"] in tags["mlflow.note.content"]


def test_logged_model_has_an_example_and_pinned_requirements(finished, monkeypatch, tmp_path):
    import mlflow
    import torch

    monkeypatch.chdir(finished)
    (tracked,) = tracked_runs(finished)
    mlflow.set_tracking_uri(f"sqlite:///{finished / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model(f"runs:/{tracked.info.run_id}/network")
    assert model.predict(model.input_example).shape == (1, 24, 32)
    folder = mlflow.artifacts.download_artifacts(f"runs:/{tracked.info.run_id}/network", dst_path=str(tmp_path))
    assert [path.name for path in (Path(folder) / "code").iterdir()] == ["lesion_segmentation"]  # the library alone
    needed = (Path(folder) / "requirements.txt").read_text().split()
    assert f"torch=={torch.__version__.partition('+')[0]}" in needed
    assert all("==" in line and "+" not in line for line in needed)


def test_experiment_of_command_precedes_variable_and_configuration(monkeypatch):
    config = {"experiment": "conf"}
    assert resolve_experiment(config, {}) == "conf"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "environment")
    assert resolve_experiment(config, {}) == "environment"
    assert resolve_experiment({"experiment": "command"}, {"experiment": "command"}) == "command"


def test_variables_of_mlflow_have_an_effect(run, project, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "elsewhere")
    monkeypatch.setenv("MLFLOW_RUN_NAME", "mine")
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    run(pipeline_names=["data_processing"])
    (tracked,) = tracked_runs(project, "elsewhere")
    assert (tracked.info.run_name, tracked.info.status) == ("mine", "FINISHED")
    assert "system/cpu_utilization_percentage" in tracked.data.metrics


def test_system_metrics_without_psutil_are_refused_before_any_work(run, project, monkeypatch):
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="psutil"):
        run(pipeline_names=["data_processing"])
    assert not (project / "data" / "demo").exists()
    assert MlflowClient(f"sqlite:///{project / 'mlflow.db'}").get_experiment_by_name("ph2-segnet-demo") is None


@pytest.mark.after_a_run
def test_closing_words_have_the_address_of_the_run_in_mlflow(run, project, capsys):
    run(namespaces=["reporting.tables"])
    newest, _ = tracked_runs(project)
    page = f"/runs/{newest.info.run_id}?workflowType=machine_learning"
    assert page in capsys.readouterr().out


def test_description_without_git_does_not_mention_changes(tmp_path):
    described = describe_run("run", {}, {}, tmp_path)
    assert described.tags["mlflow.note.content"] == "`kedro run`\n\nat commit unknown"


def test_variable_names_a_run_but_not_the_children_of_a_run(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_NAME", "mine")
    store, artifacts = f"sqlite:///{project / 'mlflow.db'}", project / "mlruns"
    parent = TrackedRun(store, "names", artifacts, Description("parent", {}))
    child = TrackedRun(store, "names", artifacts, Description("child", {"mlflow.parentRunId": parent.run_id}))
    for each in (parent, child):
        each.end("FINISHED")
    assert {tracked.info.run_name for tracked in tracked_runs(project, "names")} == {"mine", "child"}


def test_status_is_set_before_the_monitor_ends_and_a_killed_run_does_not_wait_for_it(project, monkeypatch):
    statuses: list[str] = []

    class Monitor:
        def finish(self) -> None:
            statuses.extend(tracked.info.status for tracked in tracked_runs(project, "monitored"))

    monkeypatch.setattr("lesion_project.tracking.run.start_monitor", lambda *_: Monitor())
    store, artifacts = f"sqlite:///{project / 'mlflow.db'}", project / "mlruns"
    TrackedRun(store, "monitored", artifacts, Description("a", {})).end("FINISHED")
    assert statuses == ["FINISHED"]
    TrackedRun(store, "monitored", artifacts, Description("b", {})).end("KILLED")
    assert statuses == ["FINISHED"]


def test_passwords_are_hidden_in_the_closing_words():
    run = SimpleNamespace(tracking_uri="postgresql://me:secret@host/runs", page="https://me:secret@host:5000/#/runs/1")
    printed = "\n".join(_list_addresses({}, {"project_path": ".", "env": None}, run))
    assert "https://me:***@host:5000/#/runs/1" in printed
    assert "postgresql://me:***@host/runs" in printed
    assert "secret" not in printed
