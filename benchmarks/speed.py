"""Milliseconds an image, beside what the arithmetic alone would take, and the peak of memory."""

import resource
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch

from benchmarks.networks import HEIGHT, WIDTH, build
from lesion_segmentation.core.hardware import Hardware, choose_hardware, keep_freed_memory, measure_multiply_rate
from lesion_segmentation.model import Network
from lesion_segmentation.model.layers import count_gflop
from lesion_segmentation.model.scaling import Scaling
from lesion_segmentation.prediction import predict
from lesion_segmentation.training.loop import make_fabric
from lesion_segmentation.training.samples import Pictures
from lesion_segmentation.training.settings import TrainingSettings
from lesion_segmentation.training.trainer import Trainer

FEWEST, MOST = 3, 9
PATIENCE_SECONDS = 8
PREDICTED = 18
"""Images that one call predicts, in batches."""


class Case(NamedTuple):
    """One measurement: `eager float32` is the network as it is, called in float32."""

    task: Literal["training", "inference", "inference, eager float32"]
    network: str
    width: float
    batch: int


def measure(case: Case) -> dict[str, Any]:
    """Time a case in a process of its own, whose peak of memory is then the case's.

    Returns:
        The case, precision, gflop (of the forward pass of an image), ms_per_image (median), multiply_gflops (the rate
        of a matrix multiply in this process, at the same precision) and peak_mb.
    """
    eager = case.task == "inference, eager float32"
    hardware = choose_hardware(precision="32-true" if eager else "auto")
    if not eager:
        keep_freed_memory()
    network = build(case.network, case.width)
    gflop = count_gflop(network)
    rate = measure_multiply_rate(hardware)
    timed = run_epochs if case.task == "training" else _predict_eagerly if eager else _predict
    images = case.batch if case.task == "training" else PREDICTED
    ms = 1e3 * _time(timed(network, case.batch, hardware), hardware) / images
    return case._asdict() | {
        "precision": hardware.precision,
        "gflop": gflop,
        "ms_per_image": ms,
        "multiply_gflops": rate,
        "peak_mb": _peak_mb(hardware),
    }


def add_ratios(speed: pd.DataFrame) -> pd.DataFrame:
    """With `ratio`: the time to that of the arithmetic at the multiply rate, the median over a run's measurements.

    A training step counts as three forward passes.
    """
    rate = speed.groupby("precision")["multiply_gflops"].transform("median")
    passes = speed["task"].map(lambda task: 3 if task == "training" else 1)
    return speed.assign(ratio=speed["ms_per_image"] / (1e3 * passes * speed["gflop"] / rate))


def run_epochs(network: Network, batch: int, hardware: Hardware) -> Callable[[], object]:
    """Epochs of one step of the project's own loop, with augmentation and without validation."""
    settings = TrainingSettings(batch_size=batch, loss="bce_dice")
    fabric = make_fabric(hardware)
    trainer = Trainer(fabric, network, settings, steps=settings.epochs)
    images, masks = draw_pictures(batch)
    pixels, truths = images.permute(0, 3, 1, 2).to(fabric.device), masks[:, None].to(fabric.device)
    which = torch.zeros(len(pixels), dtype=torch.long)
    train, none = Pictures(pixels, truths, [""] * len(pixels), which), Pictures(pixels[:0], truths[:0], [], which[:0])
    return lambda: trainer.run_epoch(1, train, none, [""] * len(train))


def _predict(network: Network, batch: int, hardware: Hardware) -> Callable[[], object]:
    images = draw_pictures(PREDICTED)[0].numpy()
    return lambda: predict(network, images, batch_size=batch, device=hardware.device)


def _predict_eagerly(network: Network, batch: int, hardware: Hardware) -> Callable[[], object]:
    batches = draw_pictures(PREDICTED)[0].to(hardware.device).permute(0, 3, 1, 2).split(batch)
    network = network.eval().to(hardware.device)
    scaling = Scaling(network.metadata, hardware.device)

    @torch.inference_mode()
    def run() -> object:
        pixels = (pixels.float().contiguous() for pixels in batches)
        return [network(scaling(batch)).sigmoid().cpu() for batch in pixels]

    return run


def draw_pictures(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise, uint8 (N, H, W, 3), and masks of it, uint8 (N, H, W): the time does not depend on what is shown."""
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8))
    return images, (images[..., 0] > 127).to(torch.uint8)


def _time(run: Callable[[], object], hardware: Hardware) -> float:
    """Median of the repeats after a first, which finds kernels and memory: fewer where they take long."""
    seconds: list[float] = []
    while len(seconds) <= FEWEST or (len(seconds) <= MOST and sum(seconds) < PATIENCE_SECONDS):
        start = time.perf_counter()
        run()
        if hardware.device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))


def _peak_mb(hardware: Hardware) -> float:
    """Of the GPU's memory there, else of the process, libraries included."""
    if hardware.device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
