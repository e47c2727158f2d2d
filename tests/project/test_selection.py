"""Typos on the command line, damaged intermediate files and unusable stores are reported in a sentence."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from kedro.framework.startup import bootstrap_project
from kedro.io import DatasetError

from lesion_project.cli import cli
from lesion_project.datasets import CaseArrays, NetworkDataset, Record, Table, Text
from lesion_project.pipeline_registry import register_pipelines
from lesion_project.selection import check_selection
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.model import SegNet


def call(project: Path, *arguments: str) -> Result:
    bootstrap_project(project)
    return CliRunner().invoke(cli, list(arguments))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--pipelines", "trainin"), "Unknown pipeline 'trainin'. Did you mean 'training'?"),
        (("--nodes", "fit_netwrk"), "Unknown node 'fit_netwrk'. Did you mean 'fit_network'"),
        (("--from-nodes", "nothing_like_it"), "Unknown node 'nothing_like_it'. Expected one of: "),
        (("--tags", "figurs"), "Unknown tag 'figurs'. Did you mean 'figures'?"),
        (("--namespaces", "reporting.tabels"), "Unknown namespace 'reporting.tabels'. Did you mean 'reporting.tables'"),
        (("--from-inputs", "sample_image"), "Unknown node input 'sample_image'. Did you mean 'sample_images'"),
        (("--to-outputs", "ph2_images"), "Unknown node output 'ph2_images'. Did you mean 'images'"),
        (("--runner", "a.b.C"), "The runner 'a.b.C' cannot be imported: No module named"),
        (("--runner", "threadrunner"), "Unknown runner 'threadrunner'. Did you mean 'ThreadRunner'?"),
        (
            ("--runner", "ThreadRunner", "--runner-params", "max_worker=3"),
            "Unknown parameter of ThreadRunner 'max_worker'. Did you mean 'max_workers'?",
        ),
        (("--runner-params", "a=[1"), "'a=[1' cannot be read (while parsing a flow sequence). Expected name=value"),
        (("--load-versions", "split:2020"), "--load-versions names split, which keep no versions."),
        (("--load-versions", "split"), "'split' cannot be read (Expected the form"),
        (
            ("--from-nodes", "build_page", "--to-nodes", "read_cases"),
            "No node is selected by all of these options",
        ),
        (
            ("-p", "training", "--pipelines", "training"),
            "'--pipelines' cannot be used together",
        ),
        (("--conf-source", "src"), "Unknown environment 'demo'. Expected one of: "),
        (("--conf-source", "pyproject.toml"), "is not a valid directory"),
        (("--config", "typo.yml"), "Key `pipelins` in provided configuration is not valid"),
        (("--config", "tags.yml"), "Unknown tag 'figurs'. Did you mean 'figures'?"),
        (("--config", "pyproject.toml"), "cannot be read"),
        (("--params", "data_root="), "data_root is empty. Give the folder of the outputs, or omit it."),
        (("--pipelines", "comparison", "--params", "comparison=abc"), "comparison.baseline is not given"),
    ],
)
def test_typo_or_unusable_value_of_an_option_is_reported_in_a_sentence(project, options, message):
    (project / "typo.yml").write_text("run: {pipelins: training}")
    (project / "tags.yml").write_text("run: {tags: 'figurs,tables'}")
    result = call(project, "run", "--env", "demo", *options)
    assert result.exit_code == (2 if "cannot be read" in result.output else 1)
    assert message in result.output
    assert isinstance(result.exception, SystemExit)
    assert not (project / "data").exists()


@pytest.mark.parametrize("command", [["run"], ["cross-validate"], ["sweep"], ["predict", "conf", "out"]])
@pytest.mark.parametrize("env", ["dmeo", "a" * 300, "/etc", "..", "../conf/demo", "demo/"])
def test_environment_that_is_not_a_folder_of_conf_is_refused(project, command, env, monkeypatch):
    known = " Did you mean 'demo'?" if len(env) == len("demo/") or env == "dmeo" else " Expected one of: "
    message = f"Unknown environment {env[:100]!r}.{known}"
    assert message in call(project, *command, "--env", env).output
    monkeypatch.setenv("KEDRO_ENV", env)
    assert message in call(project, *command).output


@pytest.mark.after_a_run
def test_run_with_nothing_missing_says_so(project):
    output = call(project, "run", "--env", "demo", "--pipelines=data_processing", "--only-missing-outputs").output
    assert "Nothing to do: all outputs exist. To make them again, omit --only-missing-outputs." in output


def test_node_name_without_namespace_is_completed_if_unique():
    options = {"node_names": "fit_network,training.fit_network", "from_nodes": None, "tags": ["scores"]}
    checked = check_selection(options, register_pipelines())
    assert checked == {**options, "node_names": ["training.fit_network", "training.fit_network"]}


def test_pipelines_may_be_one_string_as_in_a_config_file():
    checked = check_selection({"pipelines": "training,reporting"}, register_pipelines())
    assert checked == {"pipelines": "training,reporting"}


DAMAGES = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(200)),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    ("dataset", "name", "data"),
    [
        (Table, "t.csv", pd.DataFrame({"case_id": ["a"], "dice": [0.5]})),
        (CaseArrays, "a.npz", {"a": np.arange(500)}),
        (Record, "r.json", {"a": 1}),
        (Text, "m.md", "words"),
        (NetworkDataset, "n.safetensors", SegNet(1 / 64)),
    ],
    ids=["table", "arrays", "record", "text", "network"],
)
def test_damaged_file_is_named_with_the_command_that_recreates_it(tmp_path, dataset, name, data, damage):
    if (damage, name) in {("truncated", "t.csv"), ("empty", "m.md"), ("truncated", "m.md")}:
        pytest.skip("the rest is a valid file, so the damage cannot be detected")
    stored = dataset(filepath=str(tmp_path / name))
    stored.save(data)
    DAMAGES[damage](tmp_path / name)
    with pytest.raises((DatasetError, InputError)) as caught:
        dict(stored.load())  # arrays are read lazily
    error = caught.value.__cause__ if isinstance(caught.value, DatasetError) else caught.value
    assert isinstance(error, InputError)
    assert str(error).startswith(str(tmp_path / name))
    assert "kedro run --only-missing-outputs" in str(error) or "kedro run --pipelines=training" in str(error)


@pytest.mark.parametrize("content", ["", "[1, 2]", "null", '{"cases.csv": 3', '"text"'])
@pytest.mark.after_a_run
def test_damaged_provenance_is_replaced(run, project, content):
    provenance = project / "data" / "demo" / "03_primary" / "provenance.json"
    provenance.write_text(content)
    run(pipeline_names=["data_processing"])
    assert set(json.loads(provenance.read_text())) >= {"cases.csv", "images.npz"}


def test_damaged_or_outdated_store_is_reported(run, project):
    store = project / "mlflow.db"
    with closing(sqlite3.connect(store)) as opened, opened:
        opened.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    with pytest.raises(InputError, match=r"of an older MLflow\. Back it up, then run: mlflow db upgrade"):
        run()
    store.write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match=r"is damaged\. Restore a back-up"):
        run()
    assert not (project / "data").exists()


def test_file_store_is_refused_with_the_reason_of_mlflow(run, project, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    with pytest.raises(InputError, match="cannot be used"):
        run()
    assert not (project / "data").exists()
