"""Measure time and memory by the number of cases: `python -m benchmarks.growth 1000 3000 10000`."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[1]
PARAMETERS = (
    "image_size.height=192,image_size.width=256,training.architecture=segnet_skip,training.width=0.0625,training.epochs=1,"
    "training.batch_size=6,training.threads=null,prediction.test_time_augmentation=none"
)
_STAGE = re.compile(r"(\S+) +\d+ nodes?, ([\d.]+) s$", re.MULTILINE)


def measure_growth(counts: list[int], parameters: str = PARAMETERS) -> pd.DataFrame:
    """Run all pipelines once for each number of synthetic cases, with one epoch of a small network.

    Returns:
        A table with the columns cases, minutes, cpu_minutes (of all threads), peak_gb (the largest resident memory) and
        the seconds of each stage.
    """
    return pd.DataFrame([{"cases": count, **_run(count, parameters)} for count in counts])


def _run(count: int, parameters: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        shutil.copytree(ROOT / "conf", project / "conf")
        shutil.copy(ROOT / "pyproject.toml", project)
        (project / "src").mkdir()  # Kedro requires the folder; the installed packages are used
        catalog = project / "conf" / "demo" / "catalog.yml"
        catalog.write_text(re.sub(r"cases: \d+", f"cases: {count}", catalog.read_text()))
        log = project / "log"
        command = [sys.executable, "-m", "kedro", "run", "--env", "demo", "--params", parameters]
        start = time.perf_counter()
        with log.open("w") as output:
            process = subprocess.Popen(command, cwd=project, stdout=output, stderr=subprocess.STDOUT)
            _, status, used = os.wait4(process.pid, 0)
        minutes = (time.perf_counter() - start) / 60
        if status:
            raise RuntimeError(f"The run with {count} cases failed: {log.read_text()[-2000:]}")
        stages = {f"{stage}_seconds": seconds for stage, seconds in find_stages(log.read_text()).items()}
    cpu_minutes = (used.ru_utime + used.ru_stime) / 60
    return {"minutes": minutes, "cpu_minutes": cpu_minutes, "peak_gb": used.ru_maxrss * 1024 / 1e9, **stages}


def find_stages(log: str) -> dict[str, float]:
    """Return the seconds of each stage in the log of a run."""
    return {stage: float(seconds) for stage, seconds in _STAGE.findall(log)}


if __name__ == "__main__":
    print(measure_growth([int(count) for count in sys.argv[1:]]).round(2).to_string(index=False))
