"""Outage of an MLflow server on PostgreSQL, during eight simultaneous trials."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from mlflow import MlflowClient
from postgres import free_port, make_database

from lesion_project.tracking.store import probe
from lesion_segmentation.core.errors import InputError

TRIALS, EPOCHS = 8, 40


class Server:
    """An `mlflow server` with a database, and with its artifacts in a folder."""

    def __init__(self, database: str, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database, "--workers", "1"]
        self.command += ["--artifacts-destination", str(folder / "artifacts"), "--port", self.url.rpartition(":")[2]]
        self.log = folder / "server.log"

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=5).close()
                return
            except OSError:
                assert self.process.poll() is None, self.log.read_text()[-2000:]
                assert time.monotonic() < deadline, self.log.read_text()[-2000:]
                time.sleep(0.2)

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(postgres, tmp_path):
    running = Server(make_database(postgres), tmp_path)
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.mark.xdist_group("whole machine")
@pytest.mark.long
def test_eight_simultaneous_trials_lose_nothing_in_an_outage(server, tmp_path):
    script = Path(__file__).with_name("log_one_trial.py")
    MlflowClient(server.url).create_experiment("eight-at-once")
    trials = [
        subprocess.Popen([sys.executable, str(script), server.url, str(number), str(tmp_path), str(EPOCHS)])
        for number in range(TRIALS)
    ]
    deadline = time.monotonic() + 240
    while len(list(tmp_path.glob("started_*"))) < TRIALS // 2 and time.monotonic() < deadline:
        time.sleep(0.05)  # some trials are logging, and others have not started
    server.stop()
    with pytest.raises(InputError, match="cannot be reached"):
        probe(server.url)
    time.sleep(3)
    server.start()
    assert [trial.wait(timeout=240) for trial in trials] == [0] * TRIALS
    client = MlflowClient(server.url)
    found = client.search_runs([client.get_experiment_by_name("eight-at-once").experiment_id])
    assert sorted(run.data.tags["trial"] for run in found) == [str(number) for number in range(TRIALS)]
    for run in found:
        number = int(run.data.tags["trial"])
        assert run.info.status == "FINISHED"
        assert run.data.params["training.learning_rate"] == str(number / 1000)
        for name, sign in (("train_dice", 1), ("validation_dice", -1)):
            history = sorted((point.step, point.value) for point in client.get_metric_history(run.info.run_id, name))
            assert history == [(epoch, number + sign * epoch / 1000) for epoch in range(1, EPOCHS + 1)]
        path = client.download_artifacts(run.info.run_id, f"scores_{number}.csv", str(tmp_path))
        assert Path(path).read_text() == f"dice\n{number}\n"
