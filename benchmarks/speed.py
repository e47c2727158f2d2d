"""Measure milliseconds per image, the time of the arithmetic alone, and the peak memory."""

import resource
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch

from benchmarks.networks import HEIGHT, WIDTH, build, count_gflop
from lesion_segmentation.core.hardware import Hardware, choose_hardware, keep_freed_memory
from lesion_segmentation.model import Network
from lesion_segmentation.model.metadata import Scaling
from lesion_segmentation.prediction import predict
from lesion_segmentation.training.loop import make_fabric
from lesion_segmentation.training.samples import SampleTensors
from lesion_segmentation.training.settings import TrainingSettings
from lesion_segmentation.training.trainer import Trainer

MIN_REPEATS, MAX_REPEATS = 3, 9
PATIENCE_SECONDS = 8
PREDICTED = 18
"""Images that one call of `predict` receives."""


class Case(NamedTuple):
    """One measurement. `eager float32` calls the network directly, in float32 and without fused batch norms."""

    task: Literal["training", "inference", "inference, eager float32"]
    network: str
    width: float
    batch: int


def measure(case: Case) -> dict[str, Any]:
    """Measure a case. Call this in a fresh process, because the peak memory is that of the process.

    Returns:
        The fields of the case, precision, gflop (of the forward pass of an image), ms_per_image (median),
        multiply_gflops (the rate of a matrix multiply in this process at the same precision) and peak_mb.
    """
    eager = case.task == "inference, eager float32"
    hardware = choose_hardware(precision="32-true" if eager else "auto")
    if not eager:
        keep_freed_memory()
    network = build(case.network, case.width)
    gflop = count_gflop(network)
    rate = measure_multiply_rate(hardware)
    make = run_epochs if case.task == "training" else _predict_eagerly if eager else _predict
    images = case.batch if case.task == "training" else PREDICTED
    ms = 1e3 * time_calls(make(network, case.batch, hardware), hardware)[1] / images
    return case._asdict() | {
        "precision": hardware.precision,
        "gflop": gflop,
        "ms_per_image": ms,
        "multiply_gflops": rate,
        "peak_mb": _peak_mb(hardware),
    }


def add_ratios(speed: pd.DataFrame) -> pd.DataFrame:
    """Add the column `ratio`: the time divided by the time of the arithmetic at the rate of a matrix multiply.

    The rate is the median over all rows of the same precision. A training step counts as three forward passes.
    """
    rate = speed.groupby("precision")["multiply_gflops"].transform("median")
    passes = speed["task"].map(lambda task: 3 if task == "training" else 1)
    return speed.assign(ratio=speed["ms_per_image"] / (1e3 * passes * speed["gflop"] / rate))


def run_epochs(network: Network, batch: int, hardware: Hardware) -> Callable[[], object]:
    """Return a function that trains an epoch of one step with augmentation and without validation."""
    settings = TrainingSettings(batch_size=batch, loss="bce_dice")
    fabric = make_fabric(hardware)
    trainer = Trainer(fabric, network, settings, steps=settings.epochs)
    images, masks = make_random_images(batch)
    pixels, truths = images.permute(0, 3, 1, 2).to(fabric.device), masks[:, None].to(fabric.device)
    which = torch.zeros(len(pixels), dtype=torch.long)
    train, none = (
        SampleTensors(pixels, truths, [""] * len(pixels), which),
        SampleTensors(pixels[:0], truths[:0], [], which[:0]),
    )
    return lambda: trainer.run_epoch(1, train, none, [""] * len(train))


def _predict(network: Network, batch: int, hardware: Hardware) -> Callable[[], object]:
    images = make_random_images(PREDICTED)[0].numpy()
    return lambda: predict(network, images, batch_size=batch, device=hardware.device)


def _predict_eagerly(network: Network, batch: int, hardware: Hardware) -> Callable[[], object]:
    batches = make_random_images(PREDICTED)[0].to(hardware.device).permute(0, 3, 1, 2).split(batch)
    network = network.eval().to(hardware.device)
    scaling = Scaling(network.metadata, hardware.device)

    @torch.inference_mode()
    def run() -> object:
        pixels = (pixels.float().contiguous() for pixels in batches)
        return [network(scaling(batch)).sigmoid().cpu() for batch in pixels]

    return run


def make_random_images(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random images, uint8 (N, H, W, 3), and masks, uint8 (N, H, W). Their content does not affect the time."""
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8))
    return images, (images[..., 0] > 127).to(torch.uint8)


def time_calls(run: Callable[[], object], hardware: Hardware) -> tuple[float, float]:
    """Return the seconds of the first call, and the median of the repeats. Slow functions are repeated less often."""
    seconds: list[float] = []
    while len(seconds) <= MIN_REPEATS or (len(seconds) <= MAX_REPEATS and sum(seconds) < PATIENCE_SECONDS):
        start = time.perf_counter()
        run()
        if hardware.device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return seconds[0], float(np.median(seconds[1:]))


def _peak_mb(hardware: Hardware) -> float:
    """Return the peak of the GPU's memory if a GPU is used, otherwise of the process including its libraries."""
    if hardware.device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def measure_multiply_rate(hardware: Hardware, repeats: int = 8) -> float:
    """Return the speed of matrix multiplication in GFLOP/s, the best of `repeats` measurements.

    The first ones are slower, since threads start and clocks rise.
    """
    size = 8192 if hardware.device == "cuda" else 2048  # a GPU is not busy with less
    dtype = torch.bfloat16 if hardware.precision == "bf16-mixed" else torch.float32
    # A constant matrix would be faster on a GPU, since fewer bits change. The global generator stays untouched.
    noise = torch.Generator(hardware.device).manual_seed(0)
    matrix = torch.rand(size, size, dtype=dtype, device=hardware.device, generator=noise)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        float((matrix @ matrix)[0, 0])
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds) / 1e9
