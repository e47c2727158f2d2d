"""What a newcomer sees of a run: little, and nothing of libraries among themselves."""

import os
import subprocess
import sys

SHORT = "image_size.height=64,image_size.width=96,training.width=0.0625,training.batch_size=4,training.epochs=2"


def test_a_run_says_a_line_a_stage_its_scores_and_where_to_look(project):
    command = [sys.executable, "-m", "kedro", "run", "--env", "demo", "--params", SHORT]
    environment = {name: value for name, value in os.environ.items() if name != "KEDRO_LOGGING_CONFIG"}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=True)
    told = (done.stderr + done.stdout).splitlines()
    assert len(told) < 60
    for stage in ("data_processing", "augmentation", "training", "reporting.prediction", "reporting.page"):
        assert [line for line in told if line.startswith(f"INFO    {stage}")], stage
    assert not [line for line in told if "Warning" in line or "deprecated" in line]
    scores, page = (
        next(i for i, line in enumerate(told) if text in line) for text in ("Scores in percent", "report.html")
    )
    assert scores < page  # first what matters most
    assert "data/demo/08_reporting/report.html" in told[page]
