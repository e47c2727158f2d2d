"""Fixtures that tests share: synthetic cases, a project folder for each test, and reasons to skip."""

import os
import re

if "PYTEST_XDIST_WORKER" in os.environ:  # one worker per core, so one thread each, in subprocesses too
    os.environ["OMP_NUM_THREADS"] = "1"

import lesion_segmentation  # isort: skip (sets environment variables before torch is imported)

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from matplotlib.figure import Figure
from PIL import Image
from postgres import run_postgres

import lesion_segmentation.paper  # noqa: F401 (registers its copies, protocols and scores)
from lesion_project.tracking.description import nest
from lesion_segmentation.core.hardware import use_threads
from lesion_segmentation.data.cases import Cases, DataSettings, ImageSize, read_cases, resize_masks
from lesion_segmentation.data.sources import synthetic
from lesion_segmentation.evaluation import intervals

ROOT = Path(__file__).parents[1]
PH2 = ROOT / "data" / "01_raw" / "ph2"
SMALL = ImageSize(height=64, width=96)
SYNTHETIC = DataSettings(name="synthetic")

# Two epochs of training improve the network of conf/accurate more than that of conf/demo.
LEARNS_FASTER = {"training.architecture": "segnet_skip", "training.ema_decay": 0.995}

# The smallest complete run: cases and protocol of conf/demo, a small network, small images.
QUICK = {
    "image_size.height": 64,
    "image_size.width": 96,
    "training.width": 0.0625,
    "training.epochs": 2,
    "training.batch_size": 4,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that cannot run here. With REQUIRE_PH2, which CI sets if it has PH2, tests on PH2 fail instead."""
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))
        if item.get_closest_marker("ph2") and not PH2.is_dir() and not os.environ.get("REQUIRE_PH2"):
            item.add_marker(pytest.mark.skip(reason="PH2 is not in data/01_raw/ph2 (make ph2 FROM=...)"))


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Undo changes of environment variables after each test, such as the OMP_NUM_THREADS=1 of Dask's clusters."""
    with patch.dict(os.environ):
        yield


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    """Restore the number of threads after each test, since a training may set it."""
    yield
    use_threads(None)


@pytest.fixture(autouse=True)
def few_draws(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use 199 bootstrap resamples, since a report has 180 intervals. Tests marked `published` use all 9,999."""
    if not request.node.get_closest_marker("published"):
        monkeypatch.setattr(intervals, "DRAWS", 199)


@pytest.fixture(scope="session")
def raw() -> dict[str, Any]:
    """Twenty synthetic cases, as the catalog loads them."""
    ids = synthetic.case_ids(20)
    cases = {case_id: synthetic.synthesize_case(number) for number, case_id in enumerate(ids, start=1)}
    return {
        "ph2_images": {case_id: (lambda case=case: Image.fromarray(case.image)) for case_id, case in cases.items()},
        "ph2_masks": {case_id: (lambda case=case: Image.fromarray(case.mask)) for case_id, case in cases.items()},
        "ph2_annotations": synthetic.annotations_text(20),
    }


@pytest.fixture(scope="session")
def read(raw: dict[str, Any]) -> Cases:
    return read_cases(**raw, image_size=SMALL, data=SYNTHETIC)


@pytest.fixture(scope="session")
def cases(read: Cases) -> pd.DataFrame:
    return read.cases


@pytest.fixture(scope="session")
def images(read: Cases) -> dict[str, np.ndarray]:
    return read.images


@pytest.fixture(scope="session")
def masks(read: Cases) -> dict[str, np.ndarray]:
    return resize_masks(read.native_masks, SMALL)


@pytest.fixture(scope="session")
def hashes(read: Cases) -> dict[str, np.ndarray]:
    return read.perceptual_hashes


@pytest.fixture(scope="session")
def empty_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project without data and runs, with twenty cases in conf/demo and an empty MLflow database."""
    return make_once(tmp_path_factory, "empty_project", make_empty_project)


@pytest.fixture(scope="session")
def finished(empty_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one finished demo run. Tests must not change it."""

    def make(project: Path) -> None:
        shutil.copytree(empty_project, project)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(project)
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            patch.setattr(intervals, "DRAWS", 199)
            run_session(project)

    return make_once(tmp_path_factory, "finished", make)


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Make a folder once per test run. One pytest worker makes it, and the others wait."""
    own = factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    with FileLock(folder.with_suffix(".lock")):
        if not (done := folder.with_suffix(".done")).exists():
            shutil.rmtree(folder, ignore_errors=True)  # left by a worker that failed
            make(folder)
            done.touch()
    return folder


def make_empty_project(project: Path) -> None:
    from mlflow import MlflowClient

    project.mkdir()
    shutil.copytree(ROOT / "conf", project / "conf", ignore=shutil.ignore_patterns("local"))
    (project / "conf" / "local").mkdir()
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(ROOT / name, project)
    (project / "src").mkdir()  # Kedro requires the folder, but the package is installed
    demo = project / "conf" / "demo" / "catalog.yml"
    demo.write_text(re.sub(r"cases: \d+", "cases: 20", demo.read_text()))
    MlflowClient(f"sqlite:///{project / 'mlflow.db'}").search_experiments()


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project for one test, in its working directory. For tests marked `after_a_run`, it contains a finished run."""
    name = "finished" if request.node.get_closest_marker("after_a_run") else "empty_project"
    copy = tmp_path / "project"
    original = request.getfixturevalue(name)
    shutil.copytree(original, copy)
    move_store(copy, original)
    monkeypatch.chdir(copy)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return copy


def move_store(project: Path, original: Path) -> None:
    """Replace the paths of the original project in MLflow's database by those of this copy."""
    columns = {"experiments": "artifact_location", "runs": "artifact_uri", "logged_models": "artifact_location"}
    with closing(sqlite3.connect(project / "mlflow.db")) as store, store:
        for table, column in columns.items():
            change = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
            store.execute(change, (original.as_uri(), project.as_uri()))


@pytest.fixture
def run(
    project: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Return a function for `kedro run` in this process: run(env, params, **options of KedroSession.run).

    Figures are saved as one pixel, except in long tests and in the fixture `finished`.
    """
    if not request.node.get_closest_marker("long"):
        monkeypatch.setattr(Figure, "savefig", save_one_pixel)
    return partial(run_session, project)


def save_one_pixel(figure: Figure, target: Any, **options: Any) -> None:
    Image.new("L", (1, 1)).save(target, "png")


def run_session(
    project: Path, env: str = "demo", params: dict[str, Any] | None = None, **options: Any
) -> dict[str, Any]:
    bootstrap_project(project)
    nested = nest({**QUICK, **(LEARNS_FASTER if env == "demo" else {}), **(params or {})})
    with KedroSession.create(project, env=env, runtime_params=nested) as session:
        return session.run(**options)


@pytest.fixture
def more_cases(project: Path) -> Path:
    """The project with 25 cases, since stratified folds need five cases of each diagnosis."""
    catalog = project / "conf" / "demo" / "catalog.yml"
    catalog.write_text(catalog.read_text().replace("cases: 20", "cases: 25"))
    return project


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL server."""
    with run_postgres() as url:
        yield url


@pytest.fixture
def mount_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a file system of the given size, such as 64k."""
    folder = tmp_path / "disk"

    def mount(size: str) -> Path:
        folder.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False)
        if mounted.returncode:
            pytest.skip("mounting a tmpfs needs root")
        return folder

    yield mount
    if folder.is_mount():  # --lazy, since an exception that a test caught may still refer to a memory-mapped file
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
