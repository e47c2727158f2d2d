"""Measure training and prediction on a GPU, with and without compilation: `python -m benchmarks.card OUT.csv`.

A few minutes on an H200 are expected, but this has not been confirmed. Without a GPU it runs on the CPU, to
check the script. Rows are written one by one, so an interrupted run keeps those that are finished.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import pandas as pd
import torch

from benchmarks.__main__ import measure_alone
from benchmarks.networks import build, count_gflop
from benchmarks.speed import make_random_images, run_epochs, time_calls
from lesion_segmentation.core.hardware import Hardware, choose_hardware, keep_freed_memory
from lesion_segmentation.model import Network
from lesion_segmentation.prediction import Predictor

MODE = "reduce-overhead"
"""Mode of `torch.compile` that records CUDA graphs, so that the host does not launch each kernel."""


class Measurement(NamedTuple):
    """A network, and the images of a training step or a prediction."""

    task: str
    network: str
    width: float
    batch: int
    compiled: bool


@click.command()
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--batch", default=18, show_default=True, help="Images of a training step; a prediction has 64.")
def main(target: Path, batch: int) -> None:
    """Write milliseconds per image, images per second and the arithmetic per second of each measurement to OUT.csv."""
    rows: list[dict[str, Any]] = []
    for network, width in (("segnet", 0.25), ("segnet_skip", 0.25), ("segnet", 1.0), ("unet_lite, lite0", 1.0)):
        for task, size in (("training", batch), ("prediction", 64)):
            for compiled in (False, True):
                given = Measurement(task, network, width, size, compiled)
                rows.append(given._asdict() | measure_alone(measure_card, given))
                click.echo(rows[-1])
                pd.DataFrame(rows).to_csv(target, index=False)


def measure_card(given: Measurement) -> dict[str, Any]:
    """Return the speed of a measurement and the seconds of its first call, which compiles, or why it failed."""
    hardware = choose_hardware()
    keep_freed_memory()
    network = build(given.network, given.width)
    gflop = count_gflop(network) * (3 if given.task == "training" else 1)
    run = _train(network, given, hardware) if given.task == "training" else _predict(network, given, hardware)
    name = torch.cuda.get_device_name() if hardware.device == "cuda" else "CPU"
    found: dict[str, Any] = {"device": name, "precision": hardware.precision}
    try:
        first, median = time_calls(run, hardware)
    except Exception as error:  # a compiler may be missing, or may not support an operation
        return found | {"error": str(error).splitlines()[0]}
    rate = given.batch / median
    return found | {
        "first_seconds": first,
        "ms_per_image": 1e3 / rate,
        "images_per_second": rate,
        "tflops": gflop * rate / 1e3,
    }


def _train(network: Network, given: Measurement, hardware: Hardware) -> Callable[[], object]:
    if given.compiled:
        network.compile(mode=MODE)
    return run_epochs(network, given.batch, hardware)


def _predict(network: Network, given: Measurement, hardware: Hardware) -> Callable[[], object]:
    images = list(make_random_images(given.batch)[0].numpy())
    predictor = Predictor(network, hardware.device, batch_size=given.batch, test_time_augmentation="none")
    if given.compiled:
        predictor._network = torch.compile(predictor._network, mode=MODE)
    return lambda: predictor.flip_logits(images).cpu()


if __name__ == "__main__":
    main()
