"""Measure predictions of many images. benchmarks/callers.py measures the service under load.

    python -m benchmarks.operations many | throughput | agreement IMAGES

`many` and `throughput` synthesize their images; `agreement` takes a folder. All commands use the released network
unless --weights names another one. results/measurements/operations.csv contains earlier results.
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

import lesion_project
from benchmarks.callers import PORT, measure_seconds, post, served, start_command
from lesion_segmentation.data.sources import synthetic
from lesion_segmentation.images.masks import binarize
from lesion_segmentation.images.resize import resize_image, restore_probability
from lesion_segmentation.model import Network, load_network
from lesion_segmentation.prediction import (
    PredictionSettings,
    PredictionStore,
    load_predictor,
    predict_selected,
    select_images,
)
from lesion_segmentation.prediction.store import WORK_FOLDER
from lesion_segmentation.released import WEIGHTS

SMALL = (128, 96)
weights_option = click.option("--weights", type=click.Path(path_type=Path), default=WEIGHTS)


@click.group()
def main() -> None:
    """Measure predictions on this machine. Nothing else should be running."""


def write_images(count: int, folder: Path) -> None:
    """Write `count` small JPEGs of synthetic cases to folders of a thousand."""
    images = [Image.fromarray(synthetic.synthesize_case(number).image).resize(SMALL) for number in range(1, 21)]
    for number in range(count):
        path = folder / f"{number // 1000:03}" / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        images[number % 20].rotate(number % 360).save(path, quality=85)


def predict(source: Path, target: Path, weights: Path, *options: str) -> tuple[float, float]:
    """Run `lesion-segmentation predict`. Return its seconds and its largest resident memory in MB."""
    start = time.perf_counter()
    process = start_command("predict", str(source), str(target), "--weights", str(weights), *options)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise click.ClickException(f"predict ended with exit status {os.waitstatus_to_exitcode(status)}.")
    return time.perf_counter() - start, used.ru_maxrss / 1024


@main.command()
@click.argument("count", type=int, default=20_000)
@click.option("--kills", type=int, default=5)
@weights_option
def many(count: int, kills: int, weights: Path) -> None:
    """Predict COUNT images with a command that is killed and rerun, and 200 without a kill, for comparison."""
    with tempfile.TemporaryDirectory() as scratch:
        few, all_images, target = (Path(scratch, name) for name in ("few", "many", "out"))
        write_images(200, few)
        write_images(count, all_images)
        seconds, reference = predict(few, Path(scratch, "out200"), weights, "--no-tta")
        click.echo(f"200 images: {seconds:.1f} s, {reference:.0f} MB")
        for kill in range(kills):
            _kill_after(10 + 5 * kill, all_images, target, weights)
            click.echo(f"after kill {kill + 1}: {len(_list_finished(target))} images are predicted")
        before = len(_list_finished(target))
        seconds, peak = predict(all_images, target, weights, "--no-tta")
        click.echo(f"the other {count - before}: {seconds:.1f} s, {(count - before) / seconds:.1f} per second")
        click.echo(f"{peak:.0f} MB, {peak / reference:.2f} times the memory for 200 images")
        _check_complete(target, count)


def _kill_after(seconds: float, source: Path, target: Path, weights: Path) -> None:
    process = start_command("predict", str(source), str(target), "--weights", str(weights), "--no-tta")
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()


def _list_finished(target: Path) -> list[str]:
    """Return the images in the part files. An image that was predicted twice occurs twice."""
    files = (target / WORK_FOLDER).glob("*.jsonl")
    return [json.loads(line)["image"] for file in files for line in file.read_text().splitlines()]


def _check_complete(target: Path, count: int) -> None:
    rows, finished = pd.read_csv(target / "predictions.csv"), _list_finished(target)
    masks = list(target.rglob("*_mask.png"))
    for mask in masks:
        with Image.open(mask) as image:
            image.load()
    click.echo(f"of {count}: {rows['image'].nunique()} rows, {len(masks)} masks that can all be read, "
               f"{len(finished) - len(set(finished))} predicted twice")  # fmt: skip


@main.command()
@weights_option
def throughput(weights: Path) -> None:
    """Compare the images per second of `predict` with prediction one by one, as in rembg and nnU-Net, on 200 images."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "in")
        write_images(200, source)
        network = load_network(weights)
        seconds = measure_seconds(lambda: _predict_one_by_one(network, sorted(source.rglob("*.jpg")), Path(scratch)))
        click.echo(f"one by one, float32: {200 / seconds:.1f} per second")
        for precision in ("32-true", "auto"):
            settings = PredictionSettings(test_time_augmentation="none", precision=precision)
            store = PredictionStore(Path(scratch, precision))
            seconds = measure_seconds(partial(predict_selected, network, select_images(source), store, settings))
            click.echo(f"predict, {store.provenance['precision']}: {200 / seconds:.1f} per second")


def _predict_one_by_one(network: Network, files: list[Path], target: Path) -> None:
    for file in files:
        _predict_alone(network, file, target / f"{file.stem}.png")


def _predict_alone(network: Network, file: Path, target: Path) -> None:
    metadata = network.metadata
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (metadata.input_mean, metadata.input_std))
    assert metadata.input_size is not None
    with torch.no_grad(), Image.open(file) as opened:
        image = np.asarray(opened.convert("RGB"))
        small = resize_image(image, *metadata.input_size, metadata.resizing, metadata.framing)
        pixels = torch.from_numpy(small.copy()).permute(2, 0, 1)[None].float()
        probability = network((pixels - mean) / std).sigmoid()[0, 0].numpy()
        native = restore_probability(probability, image.shape[0], image.shape[1], metadata.framing)
        mask = binarize(native, metadata.threshold, metadata.keep_largest_component)
        Image.fromarray((255 * mask).astype(np.uint8)).save(target)


@main.command()
@click.argument("images", type=click.Path(path_type=Path, exists=True))
@weights_option
def agreement(images: Path, weights: Path) -> None:
    """Compare the masks of the command, the service, the MLflow model and the export with those of the library."""
    files = sorted(path for path in images.rglob("*") if path.is_file())
    masks = [prediction.mask for prediction in load_predictor(weights)(files)]
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "out")
        predict(images, out, weights)
        written = [out / file.relative_to(images).with_name(f"{file.stem}_mask.png") for file in files]
        _compare_masks("command", masks, (np.asarray(Image.open(path)) > 0 for path in written))
        with served(weights):
            _compare_masks("service", masks, map(_request_mask, files))
        model = _load_model(weights, Path(scratch, "model"))
        _compare_masks("MLflow's model", masks, (model.predict(_read(file)[None])[0] > 0 for file in files))
        _compare_exported(weights, files, Path(scratch, "network.onnx"))


def _compare_masks(name: str, masks: list[np.ndarray], others: Iterable[np.ndarray]) -> None:
    wrong = sum(not np.array_equal(mask, other) for mask, other in zip(masks, others, strict=True))
    click.echo(f"{name}: {wrong} of {len(masks)} masks differ")


def _load_model(weights: Path, target: Path) -> Any:
    import mlflow

    code = Path(lesion_project.__file__).parent / "tracking" / "pyfunc.py"
    mlflow.pyfunc.save_model(target, python_model=str(code), artifacts={"network": str(weights)})
    return mlflow.pyfunc.load_model(str(target))


def _read(file: Path) -> np.ndarray:
    with Image.open(file) as opened:
        return np.asarray(opened.convert("RGB"))


def _compare_exported(weights: Path, files: list[Path], target: Path) -> None:
    import onnxruntime  # type: ignore[import-untyped]

    from lesion_segmentation.export import export_onnx

    export_onnx(load_network(weights), target)
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    exact = load_predictor(weights, PredictionSettings(precision="32-true"))
    worst, differ, beyond = 0.0, 0, 0
    for file, prediction in zip(files, exact(files), strict=True):
        masks, probabilities = session.run(None, {"images": _read(file)[None]})
        worst = max(worst, float(np.abs(probabilities[0] - prediction.probability).max()))
        other = masks[0] != (prediction.probability > exact.threshold)  # the export keeps all components
        differ += int(other.sum())
        beyond += int((other & (np.abs(prediction.probability - exact.threshold) > 1e-3)).sum())
    click.echo(f"exported file: probabilities by {worst:.1g} at most, {differ} pixels of all masks differ, {beyond} of "
               "them further than 0.001 from the threshold")  # fmt: skip


def _request_mask(file: Path) -> np.ndarray:
    status, body = post(PORT, file.read_bytes())
    if status != 200:
        raise click.ClickException(f"The service answered {file} with status {status}, expected 200.")
    return np.asarray(Image.open(io.BytesIO(body))) > 0


if __name__ == "__main__":
    main()
