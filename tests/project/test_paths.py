"""Wherever the project stands and wherever its commands are called."""

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


def test_a_projects_path_may_have_blanks_umlauts_and_hashes(empty_project, tmp_path, monkeypatch):
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
def test_a_path_that_mlflow_would_read_as_another_is_refused(name):
    with pytest.raises(InputError, match="Rename that folder"):
        absolute_uri("sqlite:///mlflow.db", Path("/home") / name)
    assert absolute_uri("http://server:5000", Path("/home") / name) == "http://server:5000"


@pytest.mark.after_a_run
def test_the_closing_words_can_be_followed_from_a_subfolder(run, project, monkeypatch, capsys):
    (project / "notes").mkdir()
    monkeypatch.chdir(project / "notes")
    run(namespaces=["reporting.page"])
    said = capsys.readouterr().out
    assert str(project / "data" / "demo" / "08_reporting" / "report.html") in said
    assert f"sqlite:///{project / 'mlflow.db'}" in said
    assert list((project / "notes").iterdir()) == []


@pytest.mark.parametrize("command", [["audit"], ["send-run"], ["import-ph2"]])
def test_a_tilde_is_the_users_home_in_every_command(command, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file.csv").write_text("a\n1\n")
    said = CliRunner().invoke(cli, [*command, "~/file.csv"]).output
    assert "~" not in said
    assert str(tmp_path) in said or "column name is missing" in said  # it was found


def test_a_tilde_is_the_users_home_in_the_data_root(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    loader = ProjectConfigLoader("conf", runtime_params={"data_root": "~/runs"})
    assert loader.runtime_params["data_root"] == str(tmp_path / "runs")


def test_git_does_not_see_what_runs_write_inside_the_project(run, project, tmp_path):
    (project / "runs" / "05_model_input").mkdir(parents=True)
    (project / "runs" / "05_model_input" / ".gitignore").write_text("*.mine\n")
    for root in ("runs", "."):
        run(params={"data_root": root}, pipeline_names=["data_processing"])
        assert "*" in (project / root / "03_primary" / ".gitignore").read_text().splitlines()
    assert (project / "runs" / "05_model_input" / ".gitignore").read_text() == "*.mine\n"
    assert not (project / ".gitignore").exists()
    run(params={"data_root": str(tmp_path / "elsewhere")}, pipeline_names=["data_processing"])
    assert not list((tmp_path / "elsewhere").rglob(".gitignore"))


def test_a_user_that_is_nobody_is_told(tmp_path):
    said = CliRunner().invoke(cli, ["import-ph2", "~nobody-of-this-name/ph2"]).output
    assert "there is no such user" in said
    with pytest.raises(InputError, match="there is no such user"):
        ProjectConfigLoader("conf", runtime_params={"data_root": "~nobody-of-this-name/x"})


def test_folds_stand_where_the_tilde_says(monkeypatch, tmp_path, project):
    """Marks and files of a cross-validation in one place: it is refused here before any fold is run."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "cv" / "fold_1").mkdir(parents=True)
    bootstrap_project(project)
    with pytest.raises(InputError, match="fold_1 was begun and not finished"):
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
def test_a_configuration_that_cannot_be_read_is_told_in_a_sentence(project, files, message, monkeypatch):
    for name, text in files.items():
        (project / "conf" / name).write_text(text)
    with pytest.raises(InputError, match=message):
        run_session(project, env="local")
