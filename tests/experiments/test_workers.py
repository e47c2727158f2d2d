"""Trials on Dask workers: results are bit for bit those of serial trials, even if a worker is killed."""

import os

import pandas as pd
import pytest
from conftest import QUICK, nest
from kill import WorkerKiller, find_writing_child
from mlflow import MlflowClient
from safetensors.numpy import load_file

from lesion_project.experiments.cross_validation import cross_validate
from lesion_segmentation.core import workers
from lesion_segmentation.core.errors import InputError

pytest.importorskip("distributed", reason="Dask comes with pip install '.[scale]'")

PARAMS = nest(QUICK | {"training.epochs": 3, "training.threads": 1, "split.validation_cases": 0})


@pytest.mark.xdist_group("whole machine")
@pytest.mark.long
def test_five_folds_on_two_workers_equal_serial_folds_after_a_kill(more_cases):
    project = more_cases
    cross_validate(project, "demo", range(5), {**PARAMS, "data_root": "data/serial"})
    root = project / "data" / "shared"
    killer = WorkerKiller(
        find_writing_child(root, lambda: any(root.glob("fold_*/06_models/training_checkpoint.safetensors")))
    )
    killer.start()
    cross_validate(project, "demo", range(5), {**PARAMS, "data_root": "data/shared"}, workers=2)
    assert killer.killed
    for fold in range(5):
        one, other = (
            load_file(project / "data" / name / f"fold_{fold}" / "06_models" / "network.safetensors")
            for name in ("serial", "shared")
        )
        assert one.keys() == other.keys()
        assert all((one[name] == other[name]).all() for name in one)
    tables = [
        pd.read_csv(project / "data" / name / "08_reporting" / "cross_validation_cases.csv")
        for name in ("serial", "shared")
    ]
    pd.testing.assert_frame_equal(*(table.filter(["case_id", "fold", "dice", "iou", "accuracy"]) for table in tables))
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("ph2-segnet-demo").experiment_id])
    parent = max(
        (run for run in runs if "mlflow.parentRunId" not in run.data.tags), key=lambda run: run.info.start_time
    )
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    finished = [run.data.params["split.fold"] for run in children if run.info.status == "FINISHED"]
    assert sorted(finished) == ["0", "1", "2", "3", "4"]
    assert parent.info.status == "FINISHED"
    assert (project / "data" / "shared" / "fold_0" / "log.txt").stat().st_size > 0


def test_impossible_options_are_refused_before_any_work(project, monkeypatch):
    with pytest.raises(InputError, match="both given"):
        cross_validate(project, "demo", [0], {}, workers=2, scheduler="tcp://127.0.0.1:1")
    monkeypatch.setattr(workers, "SECONDS_TO_CONNECT", 1)
    with (
        pytest.raises(InputError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:1"),
        workers.open_workers(None, "tcp://127.0.0.1:1"),
    ):
        pass


def count_threads() -> int:
    import torch

    return torch.get_num_threads()


@pytest.mark.xdist_group("whole machine")
@pytest.mark.long
def test_worker_uses_its_share_of_the_cores_and_the_environment_stays_unchanged(monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # these would apply to all processes
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    with workers.open_workers(1, None) as client:
        client.wait_for_workers(1)
        assert list(client.run(count_threads).values()) == [len(os.sched_getaffinity(0))]
    assert dict(os.environ) == before


def test_workers_share_cores_and_gpus(monkeypatch):
    bound = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 4, 5, 6, 7})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: bound.append(cores))
    cards = []
    for number in range(4):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
        workers.take_share(number, 4)
        cards.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert bound == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert cards == ["4", "5", "4", "5"]
