"""Opening MLflow's store."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from filelock import FileLock

from lesion_project.tracking import store
from lesion_segmentation.core.atomic_files import lock_file_of


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event that is set when a store is opened. No store is created."""
    event = threading.Event()

    class Client:
        def __init__(self, uri: str) -> None:
            pass

        def search_experiments(self, **options: Any) -> None:
            event.set()

    monkeypatch.setattr("mlflow.MlflowClient", Client)
    return event


def test_sqlite_store_is_opened_by_one_run_at_a_time(opened, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with ThreadPoolExecutor(1) as pool:
        with FileLock(lock_file_of(uri)):
            probe = pool.submit(store.probe, uri)
            assert not opened.wait(0.3)
        probe.result(timeout=30)
    assert opened.is_set()


def test_lock_that_is_never_released_does_not_stop_a_run(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "PATIENCE_AT_END", 0.1)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with FileLock(lock_file_of(uri)):
        store.probe(uri)
    assert opened.is_set()


def test_servers_are_asked_without_a_lock(opened):
    uri = "http://127.0.0.1:1"
    with FileLock(lock_file_of(uri)):
        store.probe(uri)
    assert opened.is_set()
