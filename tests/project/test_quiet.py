"""Output of a run: few lines, and no warnings of libraries."""

import importlib
import os
import subprocess
import sys

from kedro_telemetry.plugin import _check_for_telemetry_consent
from mlflow.telemetry.utils import is_telemetry_disabled

import lesion_project

SHORT = "image_size.height=64,image_size.width=96,training.width=0.0625,training.batch_size=4,training.epochs=2"


def test_telemetry_is_off_without_the_file_telemetry_as_in_a_packaged_project(monkeypatch):
    names = ("DO_NOT_TRACK", "KEDRO_DISABLE_TELEMETRY", "MLFLOW_DISABLE_TELEMETRY")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    assert _check_for_telemetry_consent(None) is None
    importlib.reload(lesion_project)
    assert _check_for_telemetry_consent(None) is False
    assert is_telemetry_disabled()


def test_run_logs_one_line_per_stage_then_scores_and_addresses(project):
    command = [sys.executable, "-m", "kedro", "run", "--env", "demo", "--params", SHORT]
    environment = {name: value for name, value in os.environ.items() if name != "KEDRO_LOGGING_CONFIG"}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=True)
    lines = (done.stderr + done.stdout).splitlines()
    assert len(lines) < 60
    for stage in ("data_processing", "augmentation", "training", "reporting.prediction", "reporting.page"):
        assert [line for line in lines if line.startswith(f"INFO    {stage}")], stage
    assert not [line for line in lines if "Warning" in line or "deprecated" in line]
    scores, page = (
        next(i for i, line in enumerate(lines) if text in line) for text in ("Scores in percent", "report.html")
    )
    assert scores < page  # the most important lines come first
    assert "data/demo/08_reporting/report.html" in lines[page]
