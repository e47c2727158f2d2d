"""Measure predictions of many images: `python -m benchmarks.operations throughput`.

The images are synthetic. The released network is used unless --weights names another one. benchmarks/callers.py
measures the service under load. results/measurements/operations.csv contains earlier results.
"""

import tempfile
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image

from benchmarks.callers import measure_seconds
from lesion_segmentation.data.sources import synthetic
from lesion_segmentation.images.masks import binarize
from lesion_segmentation.images.resize import resize_image, restore_probability
from lesion_segmentation.model import Network, load_network
from lesion_segmentation.prediction import PredictionSettings, PredictionStore, predict_selected, select_images
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


@main.command()
@weights_option
def throughput(weights: Path) -> None:
    """Compare the images per second of `predict` with prediction one by one on 200 images."""
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


if __name__ == "__main__":
    main()
