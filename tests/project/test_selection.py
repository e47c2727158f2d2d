"""Typos on the command line, damaged files in between and unusable stores: each is told in a sentence."""

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
        (("--pipelines", "trainin"), "--pipelines has trainin, did you mean training?"),
        (("--nodes", "fit_netwrk"), "--nodes has fit_netwrk, did you mean fit_network"),
        (("--from-nodes", "nothing_like_it"), "--from-nodes has nothing_like_it, expected one of: "),
        (("--tags", "figurs"), "--tags has figurs, did you mean figures?"),
        (("--namespaces", "reporting.tabels"), "--namespaces has reporting.tabels, did you mean reporting.tables"),
    ],
)
def test_a_typo_is_told_with_what_was_meant(project, options, message):
    result = call(project, "run", "--env", "demo", *options)
    assert result.exit_code == 1
    assert message in result.output
    assert isinstance(result.exception, SystemExit)
    assert not (project / "data").exists()


@pytest.mark.parametrize("command", ["run", "cross-validate"])
def test_an_environment_without_a_folder_is_told(project, command, monkeypatch):
    assert "--env is dmeo, did you mean demo?" in call(project, command, "--env", "dmeo").output
    if command == "cross-validate":
        monkeypatch.setenv("KEDRO_ENV", "nowhere")
        assert (
            "--env is nowhere, expected one of: attention_unet, base, cpu, custom, demo"
            in call(project, command).output
        )


def test_a_bare_node_name_works_where_it_is_unique():
    options = {"node_names": "fit_network,training.fit_network", "from_nodes": None, "tags": ["scores"]}
    checked = check_selection(options, register_pipelines())
    assert checked == {**options, "node_names": ["training.fit_network", "training.fit_network"]}


def test_pipelines_may_be_a_text_as_in_a_file_of_options():
    checked = check_selection({"pipelines": "training,reporting"}, register_pipelines())
    assert checked == {"pipelines": "training,reporting"}


DAMAGES = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-7]),
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
def test_a_damaged_file_in_between_is_named_with_the_command_that_makes_it_again(tmp_path, dataset, name, data, damage):
    if (damage, name) in {("cut", "t.csv"), ("empty", "m.md"), ("cut", "m.md")}:
        pytest.skip("what is left is whole: nobody can tell")
    stored = dataset(filepath=str(tmp_path / name))
    stored.save(data)
    DAMAGES[damage](tmp_path / name)
    with pytest.raises((DatasetError, InputError)) as caught:
        dict(stored.load())  # arrays are read when they are asked for
    told = caught.value.__cause__ if isinstance(caught.value, DatasetError) else caught.value
    assert isinstance(told, InputError)
    assert str(told).startswith(str(tmp_path / name))
    assert "kedro run --only-missing-outputs" in str(told) or "kedro run --pipelines=training" in str(told)


@pytest.mark.parametrize("content", ["", "[1, 2]", "null", '{"cases.csv": 3', '"text"'])
@pytest.mark.after_a_run
def test_a_damaged_note_of_origins_is_begun_anew(run, project, content):
    note = project / "data" / "demo" / "03_primary" / "provenance.json"
    note.write_text(content)
    run(pipeline_names=["data_processing"])
    assert set(json.loads(note.read_text())) >= {"cases.csv", "images.npz"}


def test_a_store_that_is_damaged_or_of_an_older_schema_is_told(run, project):
    store = project / "mlflow.db"
    with closing(sqlite3.connect(store)) as opened, opened:
        opened.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    with pytest.raises(InputError, match=r"of an older MLflow\. Back it up, then: mlflow db upgrade"):
        run()
    store.write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match=r"is damaged\. Put a back-up in its place"):
        run()
    assert not (project / "data").exists()


def test_a_file_store_is_told_in_mlflows_words(run, project, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    with pytest.raises(InputError, match="cannot be used"):
        run()
    assert not (project / "data").exists()
