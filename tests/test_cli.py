"""Tests of the command line of the Kedro project."""

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from lesion_project.cli import cli, run


def test_package_runs_as_a_module(project):
    command = [sys.executable, "-m", "lesion_project", "--env", "demo", "--pipelines", "data_processing"]
    done = subprocess.run(command, cwd=project, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Done." in done.stdout
    assert "data/demo/03_primary" in done.stdout
    assert (project / "data" / "demo" / "03_primary" / "cases.csv").is_file()


def test_missing_copy_of_ph2_is_reported_without_a_traceback(tmp_path):
    result = CliRunner().invoke(cli, ["import-ph2", str(tmp_path / "nowhere"), "--target", str(tmp_path / "ph2")])
    assert result.exit_code == 1
    assert "no such folder or file" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["run", "cross-validate", "sweep"])
def test_invalid_parameters_are_reported_without_a_traceback(command):
    result = CliRunner().invoke(cli, [command, "--params", "training.validation_scores=[legacy"])
    assert result.exit_code == 2
    assert "'training.validation_scores=[legacy' cannot be read" in result.output
    assert isinstance(result.exception, SystemExit)


def test_params_take_lists_and_patterns():
    """YAML would read a pattern as an alias, and Kedro splits at every comma."""
    option = next(option for option in run.params if option.name == "params")
    given = "data.ignore=*_[ab].png,training.options.annotation_styles=[PH2,ISIC 2018, T1],a=[1, 2],b=[x],c=[],d=1"
    values = option.callback(click.Context(run), option, given)
    assert values.pop("data") == {"ignore": "*_[ab].png"}
    assert values.pop("training") == {"options": {"annotation_styles": ["PH2", "ISIC 2018", "T1"]}}
    assert values == {"a": [1, 2], "b": ["x"], "c": [], "d": 1}
