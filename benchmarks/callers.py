"""The service under load, for docs/operations.md: python -m benchmarks.callers [SECONDS]."""

import io
import resource
import socket
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
SILENT = 1000


def begin(*arguments: str) -> subprocess.Popen[bytes]:
    """The command, without a word."""
    return subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def served(weights: Path, port: int = PORT) -> Iterator[subprocess.Popen[bytes]]:
    """The service on a port of its own, ended at last."""
    process = begin("serve", "--weights", str(weights), "--port", str(port))
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
    raise click.ClickException("the service did not begin")


def _get(port: int, path: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    return connection.getresponse().status


def post(port: int, body: bytes) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", "/predict", body, {"Content-Type": "application/octet-stream", "Accept": "image/png"})
    answer = connection.getresponse()
    return answer.status, answer.read()


@click.command()
@click.argument("seconds", type=float, default=120)
@click.option("--clients", type=int, default=50)
@click.option("--weights", type=click.Path(path_type=Path), default=WEIGHTS)
def main(seconds: float, clients: int, weights: Path) -> None:
    """Clients that ask again as soon as they are answered; then silent connections; then SIGTERM under load."""
    buffer = io.BytesIO()
    Image.fromarray(synthetic.synthesize_case(3).image).save(buffer, "JPEG", quality=90)
    with served(weights) as process:
        _load_for(seconds, process.pid, buffer.getvalue(), clients)
        _stay_silent(process.pid)
        load = Load(buffer.getvalue(), clients)
        time.sleep(5)
        process.terminate()
        took = measure_seconds(process.wait)
        load.stop()
        click.echo(f"SIGTERM under load: ended with {process.returncode} after {took:.1f} s; {load.describe(5)}")


def _load_for(seconds: float, pid: int, body: bytes, clients: int) -> None:
    load, memory = Load(body, clients), []
    while time.perf_counter() - load.start < seconds:
        time.sleep(2)
        memory.append(_resident(pid))
    load.stop()
    click.echo(f"{clients} clients, {seconds:.0f} s: {load.describe(seconds)}")
    early, late, most = memory[len(memory) // 10], memory[-1], max(memory)
    click.echo(f"memory: {early:.0f} MB after a tenth, {late:.0f} at the end, {most:.0f} at most")


def _stay_silent(pid: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    silent = [socket.create_connection(("127.0.0.1", PORT), timeout=5) for _ in range(SILENT)]
    click.echo(f"with {SILENT} silent connections: /health {_try_health()}")
    time.sleep(15)
    click.echo(f"15 seconds later: /health {_try_health()}, {_resident(pid):.0f} MB")
    for each in silent:
        each.close()


def _try_health() -> int | str:
    try:
        return _get(PORT, "/health")
    except (OSError, HTTPException) as error:
        return type(error).__name__


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def measure_seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


class Load:
    """So many clients, each in a thread, that post one picture again and again."""

    def __init__(self, body: bytes, clients: int) -> None:
        self.start = time.perf_counter()
        self._body, self._ends = body, threading.Event()
        self._answers: list[tuple[int | str, float]] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        while not self._ends.is_set():
            start = time.perf_counter()
            try:
                status: int | str = post(PORT, self._body)[0]
            except (OSError, HTTPException) as error:
                status = type(error).__name__
                time.sleep(0.1)
            self._answers.append((status, time.perf_counter() - start))

    def stop(self) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def describe(self, seconds: float) -> str:
        """Statuses, answers a second, and how long they took."""
        took = [each for status, each in self._answers if status == 200]
        quantiles = ", ".join(f"p{q} {np.percentile(took, q):.2f} s" for q in (50, 99)) if took else "none answered"
        return (
            f"{dict(Counter(status for status, _ in self._answers))}, {len(took) / seconds:.1f} a second, {quantiles}"
        )


if __name__ == "__main__":
    main()
