"""Simultaneous runs: one of two in the same data root is refused, and two in different data roots are correct."""

import os
import subprocess
import sys

import pandas as pd
import pytest
from conftest import QUICK, nest
from filelock import FileLock
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.runner import ParallelRunner

from lesion_segmentation.core.atomic_files import lock_file_of
from lesion_segmentation.core.errors import InputError

SHORT = "image_size.height=64,image_size.width=96,training.width=0.0625,training.batch_size=4,training.epochs=1"
DOUBLES = int(os.environ.get("DOUBLES", "1"))
"""Number of pairs of simultaneous runs."""


def test_second_run_in_a_data_root_is_refused_before_any_work(run, project):
    with (
        FileLock(lock_file_of(project / "data" / "demo")),
        pytest.raises(InputError, match="Another run is writing to"),
    ):
        run(pipeline_names=["data_processing"])
    assert not (project / "data").exists()
    run(pipeline_names=["data_processing"])  # the lock is free again
    run(pipeline_names=["data_processing"])


@pytest.mark.xdist_group("whole machine")
@pytest.mark.long
@pytest.mark.parametrize("roots", [("one", "one"), ("one", "two")])
def test_simultaneous_runs_do_not_mix_their_files(project, roots):
    for _ in range(DOUBLES):
        (project / "mlflow.db").unlink()  # the runs have to create a store
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "kedro", "run", "--env", "demo", "--pipelines", "data_processing,augmentation",
                 "--params", f"{SHORT},data_root={root},split.seed={seed}"],
                cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
            for seed, root in enumerate(roots)
        ]  # fmt: skip
        outputs = [process.communicate(timeout=180)[0] for process in processes]
        refused = [output for process, output in zip(processes, outputs, strict=True) if process.returncode]
        assert all("Another run is writing to" in output and "Traceback" not in output for output in refused)
        assert len(refused) <= (1 if len(set(roots)) == 1 else 0)
        for root in set(roots):
            split = pd.read_csv(project / root / "05_model_input" / "split.csv")
            guarded = pd.read_csv(project / root / "05_model_input" / "guarded_samples.csv")
            subsets = guarded.set_index("case_id")["subset"].to_dict()
            assert split.set_index("case_id")["subset"].to_dict() == subsets  # both files are of the same run


def test_session_may_load_its_context_twice(project):  # as %reload_kedro and notebooks do
    bootstrap_project(project)
    with KedroSession.create(project, env="demo", runtime_params=nest(QUICK)) as session:
        session.load_context()
        session.run(pipeline_names=["data_processing"])
        session.load_context()


def test_refused_run_releases_its_lock(run, project):
    with pytest.raises(InputError, match="ParallelRunner"):
        run(runner=ParallelRunner())
    lock = FileLock(lock_file_of((project / "data" / "demo").resolve()))
    lock.acquire(timeout=0)
    lock.release()
