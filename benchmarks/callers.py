"""Measure the service under load: `python -m benchmarks.callers [SECONDS]`.

results/measurements/operations.csv contains earlier results.
"""

import io
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import click
import numpy as np
from PIL import Image

from lesion_segmentation.data.sources import synthetic
from lesion_segmentation.released import WEIGHTS

COMMAND = [sys.executable, "-c", "from lesion_segmentation.cli import main; main()"]
PORT = 8199


def start_command(*arguments: str) -> subprocess.Popen[bytes]:
    """Start `lesion-segmentation` with its output discarded."""
    return subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def served(weights: Path, port: int = PORT) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service on a port until the context ends."""
    process = start_command("serve", "--weights", str(weights), "--port", str(port))
    try:
        _wait_for(port)
        yield process
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int) -> None:
    for _ in range(600):
        try:
            if _get(port, "/health") == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise click.ClickException("The service did not answer within a minute of its start.")


def _get(port: int, path: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    return connection.getresponse().status


def post(port: int, body: bytes) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", "/predict", body, {"Content-Type": "application/octet-stream", "Accept": "image/png"})
    response = connection.getresponse()
    return response.status, response.read()


@click.command()
@click.argument("seconds", type=float, default=120)
@click.option("--clients", type=int, default=50)
@click.option("--weights", type=click.Path(path_type=Path), default=WEIGHTS)
def main(seconds: float, clients: int, weights: Path) -> None:
    """Measure the service with clients that send requests without pause."""
    buffer = io.BytesIO()
    Image.fromarray(synthetic.synthesize_case(3).image).save(buffer, "JPEG", quality=90)
    with served(weights) as process:
        _measure_load(seconds, process.pid, buffer.getvalue(), clients)


def _measure_load(seconds: float, pid: int, body: bytes, clients: int) -> None:
    load, memory = Load(body, clients), []
    while time.perf_counter() - load.start < seconds:
        time.sleep(2)
        memory.append(_read_resident_mb(pid))
    load.stop()
    click.echo(f"{clients} clients, {seconds:.0f} s: {load.describe(seconds)}")
    early, late, peak = memory[len(memory) // 10], memory[-1], max(memory)
    click.echo(f"memory: {early:.0f} MB after a tenth of the time, {late:.0f} MB at the end, {peak:.0f} MB at the peak")


def _read_resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def measure_seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


class Load:
    """Clients, each in a thread of its own, that post the same image again and again."""

    def __init__(self, body: bytes, clients: int) -> None:
        self.start = time.perf_counter()
        self._body, self._stopped = body, threading.Event()
        self._responses: list[tuple[int | str, float]] = []
        self._threads = [threading.Thread(target=self._send_requests) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _send_requests(self) -> None:
        while not self._stopped.is_set():
            start = time.perf_counter()
            try:
                status: int | str = post(PORT, self._body)[0]
            except (OSError, HTTPException) as error:
                status = type(error).__name__
                time.sleep(0.1)
            self._responses.append((status, time.perf_counter() - start))

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def describe(self, seconds: float) -> str:
        """Return the status codes, the responses per second and the quantiles of the response times."""
        took = [each for status, each in self._responses if status == 200]
        quantiles = ", ".join(f"p{q} {np.percentile(took, q):.2f} s" for q in (50, 99)) if took else "no response"
        counts = dict(Counter(status for status, _ in self._responses))
        return f"{counts}, {len(took) / seconds:.1f} per second, {quantiles}"


if __name__ == "__main__":
    main()
