"""What docs/operations.md says of many pictures; benchmarks/callers.py has the callers.

    python -m benchmarks.operations many | alone | ways PICTURES

Each command draws its own pictures but for `ways`, which takes a folder; all of them take the released network unless
--weights names another.
"""

import io
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import torch
from PIL import Image

import lesion_segmentation
from benchmarks.callers import PORT, begin, measure_seconds, post, served
from lesion_segmentation.data.sources import synthetic
from lesion_segmentation.images.masks import binarize
from lesion_segmentation.images.resize import resize_image, restore_probability
from lesion_segmentation.model import Network, load_network
from lesion_segmentation.prediction import RunSettings, load_predictor, select_images
from lesion_segmentation.prediction.predictions import prepare
from lesion_segmentation.released import WEIGHTS

SMALL = (128, 96)
weights_option = click.option("--weights", type=click.Path(path_type=Path), default=WEIGHTS)


@click.group()
def main() -> None:
    """Measure on this machine, with nothing else running."""


def draw_pictures(count: int, folder: Path) -> None:
    """`count` small JPEGs in folders of a thousand."""
    drawn = [Image.fromarray(synthetic.synthesize_case(number).image).resize(SMALL) for number in range(1, 21)]
    for number in range(count):
        path = folder / f"{number // 1000:03}" / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn[number % 20].rotate(number % 360).save(path, quality=85)


def predict(source: Path, target: Path, weights: Path, *options: str) -> tuple[float, float]:
    """Run the command to its end: seconds, and its largest resident memory in MB."""
    start = time.perf_counter()
    process = begin("predict", str(source), str(target), "--weights", str(weights), *options)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise click.ClickException(f"predict ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - start, used.ru_maxrss / 1024


@main.command()
@click.argument("count", type=int, default=20_000)
@click.option("--kills", type=int, default=5)
@weights_option
def many(count: int, kills: int, weights: Path) -> None:
    """COUNT pictures in one run that is killed (-9) and called again, beside 200 in one; one view."""
    with tempfile.TemporaryDirectory() as scratch:
        few, all_of_them, target = (Path(scratch, name) for name in ("few", "many", "out"))
        draw_pictures(200, few)
        draw_pictures(count, all_of_them)
        seconds, least = predict(few, Path(scratch, "out200"), weights, "--no-tta")
        click.echo(f"200 pictures: {seconds:.1f} s, {least:.0f} MB")
        for kill in range(kills):
            _kill_after(10 + 5 * kill, all_of_them, target, weights)
            click.echo(f"killed once more: {len(_journal(target))} pictures are done")
        before = len(_journal(target))
        seconds, most = predict(all_of_them, target, weights, "--no-tta")
        click.echo(f"the rest, {count - before}: {seconds:.1f} s, {(count - before) / seconds:.1f} a second")
        click.echo(f"{most:.0f} MB, {most / least:.2f} times that of 200")
        _tell_whether_whole(target, count)


def _kill_after(seconds: float, source: Path, target: Path, weights: Path) -> None:
    process = begin("predict", str(source), str(target), "--weights", str(weights), "--no-tta")
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()


def _journal(target: Path) -> list[str]:
    """The pictures that are done, one entry each time one was."""
    files = (target / ".predictions").glob("*.jsonl")
    return [picture for file in files for line in file.read_text().splitlines() if (picture := _parse(line))]


def _parse(line: str) -> str:
    try:
        return str(json.loads(line)["picture"])
    except ValueError:  # a kill cut it
        return ""


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
    """Pictures a second: one by one, as rembg and nnU-Net's own predictors go, and as `predict` does; 200, one view."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "in")
        draw_pictures(200, source)
        network = load_network(weights)
        seconds = measure_seconds(lambda: _predict_one_by_one(network, sorted(source.rglob("*.jpg")), Path(scratch)))
        click.echo(f"one by one, float32: {200 / seconds:.1f} a second")
        for precision in ("32-true", "auto"):
            settings = RunSettings(test_time_augmentation="none", precision=precision)
            prepared, target = prepare(network, select_images(source), settings), Path(scratch, precision)
            seconds = measure_seconds(partial(prepared.write_to, target))
            click.echo(f"predict, {prepared.predictor.precision}: {200 / seconds:.1f} a second")


def _predict_one_by_one(network: Network, files: list[Path], target: Path) -> None:
    for file in files:
        _predict_alone(network, file, target / f"{file.stem}.png")


def _predict_alone(network: Network, file: Path, target: Path) -> None:
    said = network.metadata
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (said.input_mean, said.input_std))
    assert said.input_size is not None
    with torch.no_grad(), Image.open(file) as opened:
        picture = np.asarray(opened.convert("RGB"))
        small = resize_image(picture, *said.input_size, said.resizing, said.framing)
        pixels = torch.from_numpy(small.copy()).permute(2, 0, 1)[None].float()
        probability = network((pixels - mean) / std).sigmoid()[0, 0].numpy()
        native = restore_probability(probability, picture.shape[0], picture.shape[1], said.framing)
        mask = binarize(native, said.threshold, said.keep_largest_component)
        Image.fromarray((255 * mask).astype(np.uint8)).save(target)


@main.command()
@click.argument("pictures", type=click.Path(path_type=Path, exists=True))
@weights_option
def ways(pictures: Path, weights: Path) -> None:
    """The masks of PICTURES through command, service, MLflow's model and exported file, beside those of the library."""
    files = sorted(path for path in pictures.rglob("*") if path.is_file())
    masks = [prediction.mask for prediction in load_predictor(weights)(files)]
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "out")
        predict(pictures, out, weights)
        places = [out / file.relative_to(pictures).with_name(f"{file.stem}_mask.png") for file in files]
        _tell_differences("command", masks, (np.asarray(Image.open(place)) > 0 for place in places))
        with served(weights):
            _tell_differences("service", masks, map(_ask_for_mask, files))
        model = _load_model(weights, Path(scratch, "model"))
        _tell_differences("MLflow's model", masks, (model.predict(_read(file)[None])[0] > 0 for file in files))
        _compare_exported(weights, files, Path(scratch, "network.onnx"))


def _tell_differences(words: str, masks: list[np.ndarray], others: Iterable[np.ndarray]) -> None:
    wrong = sum(not np.array_equal(mask, other) for mask, other in zip(masks, others, strict=True))
    click.echo(f"{words}: {wrong} of {len(masks)} masks differ")


def _load_model(weights: Path, place: Path) -> Any:
    import mlflow

    code = Path(lesion_segmentation.__file__).parent / "tracking" / "pyfunc.py"
    mlflow.pyfunc.save_model(place, python_model=str(code), artifacts={"network": str(weights)})
    return mlflow.pyfunc.load_model(str(place))


def _read(file: Path) -> np.ndarray:
    with Image.open(file) as opened:
        return np.asarray(opened.convert("RGB"))


def _compare_exported(weights: Path, files: list[Path], place: Path) -> None:
    import onnxruntime  # type: ignore[import-untyped]

    from lesion_segmentation.export import export_onnx

    export_onnx(load_network(weights), place)
    session = onnxruntime.InferenceSession(place, providers=["CPUExecutionProvider"])
    exact = load_predictor(weights, RunSettings(precision="32-true"))
    worst, differ, beyond = 0.0, 0, 0
    for file, prediction in zip(files, exact(files), strict=True):
        masks, probabilities = session.run(None, {"pictures": _read(file)[None]})
        worst = max(worst, float(np.abs(probabilities[0] - prediction.probability).max()))
        other = masks[0] != (prediction.probability > exact.threshold)  # the exported file keeps all parts
        differ += int(other.sum())
        beyond += int((other & (np.abs(prediction.probability - exact.threshold) > 1e-3)).sum())
    click.echo(f"exported file: probabilities by {worst:.1g} at most, {differ} pixels of all masks differ, {beyond} of "
               "them further than 0.001 from the threshold")  # fmt: skip


def _ask_for_mask(file: Path) -> np.ndarray:
    status, body = post(PORT, file.read_bytes())
    if status != 200:
        raise click.ClickException(f"{file}: the service answered {status}")
    return np.asarray(Image.open(io.BytesIO(body))) > 0


if __name__ == "__main__":
    main()
