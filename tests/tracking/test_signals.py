"""SIGTERM and Ctrl-C end a process, even if its code swallows exceptions."""

import signal
import subprocess
import sys
import time

import pytest

from lesion_project.tracking.description import describe_resuming
from lesion_project.tracking.signals import explain_interruption
from lesion_segmentation.training.checkpoints import Checkpoint, CheckpointFile

SCRIPT = """
import sys, time
from pathlib import Path
from lesion_segmentation.core.atomic_files import atomic_write
from lesion_project.tracking.signals import SignalGuard

folder = Path(sys.argv[1])
outer = SignalGuard(lambda: (folder / "outer").write_text("killed"), lambda: "Run the same command again.")
guard = SignalGuard(lambda: (folder / "inner").write_text("killed"), lambda: "inner")
with atomic_write(folder / "output.txt") as path:
    path.write_text("half")
    (folder / "ready").touch()
    while True:
        try:  # code that swallows all exceptions
            time.sleep(0.01)
        except BaseException:
            pass
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_cannot_be_swallowed_and_both_runs_are_reported_as_killed(tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        stderr=subprocess.PIPE,
        # In the background, a shell ignores Ctrl-C, and child processes inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        process.wait(timeout=10)
    finally:
        process.kill()
    assert process.stderr.read() == b"\nRun the same command again.\n"
    assert process.returncode == -number
    assert {path.name for path in tmp_path.iterdir()} == {
        "inner",
        "outer",
        "ready",
    }  # and no partial output


def test_handlers_are_restored():
    from lesion_project.tracking.signals import SignalGuard

    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    guard = SignalGuard(lambda: None)
    assert signal.getsignal(signal.SIGTERM) != before[0]
    guard.release()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_message_names_the_checkpoint_and_the_command_that_resumes(tmp_path):
    file = CheckpointFile(tmp_path / "checkpoint.safetensors")
    resuming = describe_resuming({"env": "demo", "runtime_params": {"training": {"epochs": 9}}})
    assert "Run the same command again" in explain_interruption(lambda: {"checkpoint_file": file}, resuming)
    file.write(Checkpoint({}, {}, [{"epoch": 1}], {}, "run"))
    assert explain_interruption(lambda: {"checkpoint_file": file}, resuming) == (
        f"Interrupted. {file.path} has 1 epoch. To resume the training, run: "
        "kedro run --env demo --params training.epochs=9,training.resume=True"
    )
