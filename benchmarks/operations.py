"""What docs/operations.md says of many pictures and many callers.

    python -m benchmarks.operations many | alone | ways PICTURES | service

Each command draws its own pictures but for `ways`, which takes a folder; all of them take the released network unless
--weights names another.
"""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import click
import numpy as np
import pandas as pd
import torch
from PIL import Image

from lesion_segmentation.data.sources import synthetic
from lesion_segmentation.inference import InferenceSettings, PredictionFolder, choose_pictures, load_predictor
from lesion_segmentation.inference.stream import prepare
from lesion_segmentation.model import Network, load_network
from lesion_segmentation.prediction import Predictor
from lesion_segmentation.released import WEIGHTS
from lesion_segmentation.resizing import resize_image, restore_probability

COMMAND = [sys.executable, "-c", "from lesion_segmentation.script import main; main()"]
SMALL = (128, 96)
weights_option = click.option("--weights", type=click.Path(path_type=Path), default=WEIGHTS)


@click.group()
def main() -> None:
    """Measure on this machine, with nothing else running."""


def begin(*arguments: str) -> subprocess.Popen[bytes]:
    """The command, without a word."""
    return subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def draw_pictures(count: int, folder: Path) -> None:
    """`count` small JPEGs in folders of a thousand."""
    drawn = [Image.fromarray(synthetic.draw_case(number).image).resize(SMALL) for number in range(1, 21)]
    for number in range(count):
        path = folder / f"{number // 1000:03}" / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn[number % 20].rotate(number % 360).save(path, quality=85)


def predict(source: Path, target: Path, weights: Path) -> tuple[float, float]:
    """Run the command to its end: seconds, and its largest resident memory in MB."""
    start = time.perf_counter()
    process = begin("predict", str(source), str(target), "--weights", str(weights))
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise click.ClickException(f"predict ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - start, used.ru_maxrss / 1024


@main.command()
@click.argument("count", type=int, default=20_000)
@click.option("--kills", type=int, default=5)
@weights_option
def many(count: int, kills: int, weights: Path) -> None:
    """COUNT pictures in one run that is killed (-9) and called again, beside 200 in one."""
    with tempfile.TemporaryDirectory() as scratch:
        few, all_of_them, target = (Path(scratch, name) for name in ("few", "many", "out"))
        draw_pictures(200, few)
        draw_pictures(count, all_of_them)
        seconds, least = predict(few, Path(scratch, "out200"), weights)
        click.echo(f"200 pictures: {seconds:.1f} s, {least:.0f} MB")
        for kill in range(kills):
            _kill_after(10 + 5 * kill, all_of_them, target, weights)
            click.echo(f"killed once more: {len(_journal(target))} pictures are done")
        before = len(_journal(target))
        seconds, most = predict(all_of_them, target, weights)
        click.echo(f"the rest, {count - before}: {seconds:.1f} s, {(count - before) / seconds:.1f} a second")
        click.echo(f"{most:.0f} MB, {most / least:.2f} times that of 200")
        _tell_whether_whole(target, count)


def _kill_after(seconds: float, source: Path, target: Path, weights: Path) -> None:
    process = begin("predict", str(source), str(target), "--weights", str(weights))
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()


def _journal(target: Path) -> list[str]:
    """The pictures that are done, one entry each time one was."""
    files = (target / ".predictions").glob("*.jsonl")
    return [json.loads(line)["picture"] for file in files for line in file.read_text().splitlines()]


def _tell_whether_whole(target: Path, count: int) -> None:
    rows, masks, journal = pd.read_csv(target / "predictions.csv"), list(target.rglob("*_mask.png")), _journal(target)
    for mask in masks:
        with Image.open(mask) as image:
            image.load()
    click.echo(f"of {count}: {rows['picture'].nunique()} rows, {len(masks)} masks that can all be read, "
               f"{len(journal) - len(set(journal))} done twice")  # fmt: skip


@main.command()
@weights_option
def alone(weights: Path) -> None:
    """Pictures a second: one by one, as rembg and nnU-Net's own predictors go, and as `predict` does; 200 of them."""
    with tempfile.TemporaryDirectory() as scratch:
        draw_pictures(200, Path(scratch, "in"))
        files = sorted(Path(scratch, "in").rglob("*.jpg"))
        network = load_network(weights)
        folder = PredictionFolder(Path(scratch, "out"), (prepared := _prepare(network, Path(scratch, "in"))).made_by)
        folder.claim()
        for words, way in (
            ("one by one, one view, float32", lambda: _predict_one_by_one(network, files)),
            ("predict, one view", lambda: prepared.write_to(folder)),
        ):
            click.echo(f"{words}: {200 / _seconds(way):.1f} a second")


def _prepare(network: Network, source: Path):  # type: ignore[no-untyped-def]
    return prepare(network, choose_pictures(source), InferenceSettings(test_time_augmentation="none"))


def _predict_one_by_one(network: Network, files: list[Path]) -> None:
    for file in files:
        _predict_alone(network, file)


def _predict_alone(network: Network, file: Path) -> None:
    said = network.metadata
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (said.input_mean, said.input_std))
    assert said.input_size is not None
    with torch.no_grad(), Image.open(file) as opened:
        picture = np.asarray(opened.convert("RGB"))
        small = resize_image(picture, *said.input_size, said.resizing, said.framing)
        pixels = torch.from_numpy(small.copy()).permute(2, 0, 1)[None].float()
        probability = network((pixels - mean) / std).sigmoid()[0, 0].numpy()
        mask = restore_probability(probability, picture.shape[0], picture.shape[1], said.framing) > said.threshold
        Image.fromarray((255 * mask).astype(np.uint8)).save(file.with_suffix(".png"))


@main.command()
@click.argument("pictures", type=click.Path(path_type=Path, exists=True))
@weights_option
def ways(pictures: Path, weights: Path) -> None:
    """The masks of PICTURES through the command, the exported file and the service, beside those of the library."""
    import onnxruntime  # type: ignore[import-untyped]

    from lesion_segmentation.export import export_onnx

    files = sorted(path for path in pictures.rglob("*") if path.is_file())
    fast, exact = (load_predictor(weights, InferenceSettings(precision=each)) for each in ("auto", "32-true"))
    known = list(fast(files))
    with tempfile.TemporaryDirectory() as scratch:
        predict(pictures, Path(scratch, "out"), weights)
        wrong = 0
        for file, prediction in zip(files, known, strict=True):
            place = Path(scratch, "out", file.relative_to(pictures).with_name(f"{file.stem}_mask.png"))
            wrong += not np.array_equal(np.asarray(Image.open(place)) > 0, prediction.mask)
        click.echo(f"command: {wrong} of {len(files)} masks differ")
        with served(weights) as port:
            wrong = sum(
                not np.array_equal(_ask_for_mask(port, file), each.mask)
                for file, each in zip(files, known, strict=True)
            )
        click.echo(f"service: {wrong} of {len(files)} masks differ")
        export_onnx(load_network(weights), Path(scratch, "network.onnx"))
        session = onnxruntime.InferenceSession(Path(scratch, "network.onnx"), providers=["CPUExecutionProvider"])
        _compare_exported(session, files, exact)


def _compare_exported(session, files: list[Path], exact: Predictor) -> None:  # type: ignore[no-untyped-def]
    worst, differ, beyond = 0.0, 0, 0
    for file, prediction in zip(files, exact(files), strict=True):  # type: ignore[arg-type]
        with Image.open(file) as opened:
            masks, probabilities = session.run(None, {"pictures": np.asarray(opened.convert("RGB"))[None]})
        worst = max(worst, float(np.abs(probabilities[0] - prediction.probability).max()))
        cut = prediction.probability > exact.threshold  # the exported file keeps all parts
        other = (masks[0] == 1) != cut
        differ += int(other.sum())
        beyond += int((other & (np.abs(prediction.probability - exact.threshold) > 1e-3)).sum())
    click.echo(f"exported file: probabilities by {worst:.1g} at most, {differ} pixels of all masks differ, {beyond} of "
               "them further than 0.001 from the threshold")  # fmt: skip


@contextmanager
def served(weights: Path, port: int = 8199) -> Iterator[int]:
    """The service on its own port, ended at last."""
    process = begin("serve", "--weights", str(weights), "--port", str(port))
    try:
        _wait_for(port)
        yield port
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


def _post(port: int, body: bytes) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", "/predict", body, {"Accept": "image/png"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def _ask_for_mask(port: int, file: Path) -> np.ndarray:
    status, body = _post(port, file.read_bytes())
    if status != 200:
        raise click.ClickException(f"{file}: the service answered {status}")
    return np.asarray(Image.open(io.BytesIO(body))) > 0


@main.command()
@click.argument("seconds", type=float, default=120)
@click.option("--clients", type=int, default=50)
@weights_option
def service(seconds: float, clients: int, weights: Path) -> None:
    """Clients that ask again as soon as they are answered; then 1,000 silent connections; then SIGTERM under load."""
    buffer = io.BytesIO()
    Image.fromarray(synthetic.draw_case(3).image).save(buffer, "JPEG", quality=90)
    port = 8199
    process = begin("serve", "--weights", str(weights), "--port", str(port))
    _wait_for(port)
    load = Load(port, buffer.getvalue(), clients)
    memory = []
    while time.perf_counter() - load.start < seconds:
        time.sleep(2)
        memory.append(_resident(process.pid))
    load.stop()
    click.echo(load.describe(seconds))
    early, late, most = memory[len(memory) // 10], memory[-1], max(memory)
    click.echo(f"memory: {early:.0f} MB after a tenth, {late:.0f} at the end, {most:.0f} at most")
    silent = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(1000)]
    click.echo(f"with 1,000 silent connections: /health {_try_health(port)}")
    time.sleep(15)
    click.echo(f"15 seconds later: /health {_try_health(port)}, {_resident(process.pid):.0f} MB")
    for each in silent:
        each.close()
    load = Load(port, buffer.getvalue(), clients)
    time.sleep(5)
    process.terminate()
    took = _seconds(process.wait)
    load.stop()
    click.echo(f"SIGTERM under load: ended with {process.returncode} after {took:.1f} s; {load.describe(5)}")


def _try_health(port: int) -> int | str:
    try:
        return _get(port, "/health")
    except (OSError, HTTPException) as error:
        return type(error).__name__


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


class Load:
    """So many clients, each in a thread, that post one picture again and again."""

    def __init__(self, port: int, body: bytes, clients: int) -> None:
        self.start = time.perf_counter()
        self._port, self._body, self._ends = port, body, threading.Event()
        self._answers: list[tuple[int | str, float]] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        while not self._ends.is_set():
            start = time.perf_counter()
            try:
                status: int | str = _post(self._port, self._body)[0]
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
