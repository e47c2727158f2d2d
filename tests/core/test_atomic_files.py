"""Atomic writes with a full disk, without permission, and when saving fails."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError
from matplotlib.figure import Figure as MatplotlibFigure

from lesion_project.datasets import CaseArrays, Figure, NetworkDataset, Record, Table
from lesion_segmentation.core.atomic_files import atomic_write, existing_parent
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.model import SegNet


@pytest.fixture
def small_disk(mount_disk: Callable[[str], Path]) -> Path:
    """Mount a file system of 64 KiB."""
    return mount_disk("64k")


def noise_figure() -> MatplotlibFigure:
    figure = MatplotlibFigure(figsize=(8, 8))
    figure.figimage(np.random.default_rng(0).random((700, 700)))
    return figure


@pytest.mark.parametrize(
    ("dataset", "small", "large"),
    [
        (CaseArrays, {"a": np.zeros(8)}, {"a": np.random.default_rng(0).random(30_000)}),
        (NetworkDataset, SegNet(1 / 64), SegNet(0.125)),
        (Table, pd.DataFrame({"a": [1]}), pd.DataFrame({"a": np.random.default_rng(0).random(10_000)})),
        (Record, {"a": 1}, {"a": "x" * 200_000}),
        (Figure, MatplotlibFigure(figsize=(1, 1)), noise_figure()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_full_disk_leaves_existing_file_unchanged(small_disk, dataset, small, large):
    path = small_disk / "output.png"
    data = dataset(filepath=str(path)) if dataset is not CaseArrays else dataset(filepath=str(path.with_suffix(".npz")))
    data.save(small)
    before = {file.name: file.read_bytes() for file in small_disk.iterdir()}
    with pytest.raises(DatasetError) as caught:
        data.save(large)
    cause = caught.value.__cause__
    assert isinstance(cause, InputError)
    assert "No space left on device. An existing file is unchanged" in str(cause)
    assert {file.name: file.read_bytes() for file in small_disk.iterdir()} == before


def test_run_on_full_disk_fails_before_any_work(run, small_disk):
    with pytest.raises(InputError, match="MiB free, but 300 MiB are needed"):
        run(params={"data_root": str(small_disk)})
    assert not list(small_disk.iterdir())


def test_run_into_a_file_fails_before_any_work(run, project, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file is a file, but a folder is needed"):
        run(params={"data_root": str(tmp_path / "file")})
    assert not (project / "data").exists()


def test_missing_permission_leaves_existing_file_unchanged(tmp_path, monkeypatch):
    """The error is simulated, since root may write anywhere."""
    path = tmp_path / "table.csv"
    path.write_text("old")

    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError, match=r"table\.csv cannot be written: Permission denied"), atomic_write(path) as new:
        new.write_text("new")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


def test_existing_parent_skips_folders_without_permission(tmp_path):
    """A forked process gives up root's permissions, which include all folders."""
    if os.getuid() != 0:
        pytest.skip("needs root, whose permissions the process gives up")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    parent = os.fork()
    if parent == 0:  # pragma: no cover
        os.seteuid(65534)
        os._exit(0 if existing_parent(closed / "out" / "file") in closed.parents else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1]) == 0


@pytest.mark.parametrize(
    ("dataset", "good", "bad"),
    [
        (Table, pd.DataFrame({"a": [1]}), "no table"),
        (Record, {"a": 1}, {"a": object()}),
        (Figure, MatplotlibFigure(), "no figure"),
    ],
)
def test_failed_save_leaves_existing_file_unchanged(dataset, good, bad, tmp_path):
    path = tmp_path / "output.png"
    data = dataset(filepath=str(path))
    data.save(good)
    before = path.read_bytes()
    with pytest.raises(DatasetError):
        data.save(bad)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["output.png"]


def test_concurrent_writers_use_separate_temporary_files(tmp_path):
    path = tmp_path / "table.csv"
    with atomic_write(path) as one, atomic_write(path) as other:
        one.write_text("one")
        other.write_text("other")
        assert one != other
    assert path.read_text() == "one"  # the block that ended last
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


def test_temporary_files_of_dead_but_not_of_live_writers_are_removed(tmp_path):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    left = tmp_path / f".table.{int(dead.stdout)}-3.partial.csv"
    living = tmp_path / f".table.{os.getppid()}-0.partial.csv"
    another = tmp_path / f".other.{int(dead.stdout)}-0.partial.csv"
    for file in (left, living, another):
        file.touch()
    with atomic_write(tmp_path / "table.csv") as path:
        path.write_text("new")
    assert {file.name for file in tmp_path.iterdir()} == {"table.csv", living.name, another.name}


@pytest.mark.parametrize("name", ["001", "NA", "nan", "1e5", "True", "-0", "", "12345e6789012345"])
def test_ids_and_hashes_are_loaded_as_strings(tmp_path, name):
    table = Table(filepath=str(tmp_path / "table.csv"))
    table.save(pd.DataFrame({"case_id": [name, "b"], "split_hash": [name, "0"], "dice": [0.5, 1.0]}))
    loaded = table.load()
    assert list(loaded["case_id"]) == [name, "b"]
    assert list(loaded["split_hash"]) == [name, "0"]
    assert loaded["dice"].sum() == 1.5
