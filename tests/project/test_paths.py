"""Projects at unusual paths, and commands that are called from elsewhere."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import move_store, run_session
from kedro.framework.startup import bootstrap_project
from mlflow import MlflowClient

from lesion_project.cli import cli
from lesion_project.configuration import ProjectConfigLoader
from lesion_project.experiments.cross_validation import cross_validate
from lesion_project.tracking.store import absolute_uri
from lesion_segmentation.core.errors import InputError


def test_path_of_a_project_may_have_blanks_umlauts_and_hashes(empty_project, tmp_path, monkeypatch):
    project = tmp_path / "bl änk #1" / "project"
    shutil.copytree(empty_project, project)
    move_store(project, empty_project)
    monkeypatch.chdir(project)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run_session(project, pipeline_names=["data_processing"])
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("ph2-segnet-demo")
    (tracked,) = client.search_runs([experiment.experiment_id])
    assert tracked.info.status == "FINISHED"
    assert "split.csv" in {entry.path for entry in client.list_artifacts(tracked.info.run_id)}
    assert [path.name for path in tmp_path.iterdir()] == ["bl änk #1"]


@pytest.mark.parametrize("name", ["50%", "what?"])
def test_path_that_mlflow_would_misread_is_refused(name):
    with pytest.raises(InputError, match="Rename that folder"):
        absolute_uri("sqlite:///mlflow.db", Path("/home") / name)
    assert absolute_uri("http://server:5000", Path("/home") / name) == "http://server:5000"


@pytest.mark.after_a_run
def test_summary_has_absolute_paths_in_a_subfolder(run, project, monkeypatch, capsys):
    (project / "notes").mkdir()
    monkeypatch.chdir(project / "notes")
    run(namespaces=["reporting.page"])
    output = capsys.readouterr().out
    assert str(project / "data" / "demo" / "08_reporting" / "report.html") in output
    assert f"sqlite:///{project / 'mlflow.db'}" in output
    assert list((project / "notes").iterdir()) == []


@pytest.mark.parametrize("command", [["audit"], ["import-ph2"]])
def test_tilde_is_the_home_folder_in_every_command(command, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file.csv").write_text("a\n1\n")
    output = CliRunner().invoke(cli, [*command, "~/file.csv"]).output
    assert "~" not in output
    assert str(tmp_path) in output or "its columns are a" in output  # the file was found


def test_tilde_is_the_home_folder_in_data_root(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    loader = ProjectConfigLoader("conf", runtime_params={"data_root": "~/runs"})
    assert loader.runtime_params["data_root"] == str(tmp_path / "runs")


def test_files_of_runs_inside_the_project_are_gitignored(run, project, tmp_path):
    (project / "runs" / "05_model_input").mkdir(parents=True)
    (project / "runs" / "05_model_input" / ".gitignore").write_text("*.mine\n")
    for root in ("runs", "."):
        run(params={"data_root": root}, pipeline_names=["data_processing"])
        assert "*" in (project / root / "03_primary" / ".gitignore").read_text().splitlines()
    assert (project / "runs" / "05_model_input" / ".gitignore").read_text() == "*.mine\n"
    assert not (project / ".gitignore").exists()
    run(params={"data_root": str(tmp_path / "elsewhere")}, pipeline_names=["data_processing"])
    assert not list((tmp_path / "elsewhere").rglob(".gitignore"))


def test_unknown_user_after_a_tilde_is_reported(tmp_path):
    output = CliRunner().invoke(cli, ["import-ph2", "~nobody-of-this-name/ph2"]).output
    assert "there is no such user" in output
    with pytest.raises(InputError, match="there is no such user"):
        ProjectConfigLoader("conf", runtime_params={"data_root": "~nobody-of-this-name/x"})


def test_folds_are_written_below_the_home_folder(monkeypatch, tmp_path, project):
    """The unfinished fold is found there, so the cross-validation is refused before any fold is run."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "cv" / "fold_1").mkdir(parents=True)
    bootstrap_project(project)
    with pytest.raises(InputError, match="fold_1 is unfinished"):
        cross_validate(project, "demo", [0], {"data_root": "~/cv"})


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"base/parameters_more.yml": "training:\n  epochs: 3\n"}, r"Duplicate keys .* training\.epochs"),
        ({"local/parameters.yml": "split: {fold: 1}\nsplit: {fold: 2}\n"}, r"local/parameters\.yml: .*duplicate key"),
        ({"local/parameters.yml": "split: [1\n"}, r"cannot be read in .*local/parameters\.yml"),
        ({"local/parameters.yml": "split: {fold: '${nowhere}'}\n"}, "Interpolation key 'nowhere' not found"),
        ({"local/parameters.yml": "split: 3\n"}, "split is 3, expected its keys"),
    ],
)
def test_unreadable_configuration_is_explained(project, files, message, monkeypatch):
    for name, text in files.items():
        (project / "conf" / name).write_text(text)
    with pytest.raises(InputError, match=message):
        run_session(project, env="local")
