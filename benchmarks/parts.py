"""Measure the time of an epoch by parts of the training loop, and of a training step by operator.

The functions of the real training loop are wrapped with a clock. A profiler would be simpler, but the records that it
keeps disturb the memory allocator, so that it overstates the allocator's share several times.
"""

import time
from collections import defaultdict
from collections.abc import Callable, MutableMapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import lightning
import pandas as pd
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.networks import build
from benchmarks.speed import make_random_images, measure_multiply_rate, run_epochs
from lesion_project.tracking.description import Description
from lesion_project.tracking.run import TrackedRun
from lesion_segmentation.core.hardware import choose_hardware, keep_freed_memory
from lesion_segmentation.model import SegNet
from lesion_segmentation.model.layers import count_gflop
from lesion_segmentation.model.metadata import Scaling
from lesion_segmentation.training import trainer
from lesion_segmentation.training.callbacks import Callbacks
from lesion_segmentation.training.checkpoints import CheckpointFile
from lesion_segmentation.training.epoch_metrics import EpochMetrics
from lesion_segmentation.training.loop import fit
from lesion_segmentation.training.optimization import AveragedNetwork
from lesion_segmentation.training.samples import SampleTensors, TrainingData
from lesion_segmentation.training.settings import TrainingSettings
from lesion_segmentation.training.trainer import Trainer

Spent = MutableMapping[str, float]
"""Seconds by part of the loop, or by kind of operator."""

SAMPLES = 150
EPOCHS = 2

_PARTS: tuple[tuple[Any, str, str], ...] = (
    (SampleTensors, "batch", "augmentation"),
    (Trainer, "sample_epoch", "augmentation"),
    (trainer, "apply_augmentation", "augmentation"),
    (Scaling, "__call__", "augmentation"),
    (SegNet, "forward", "forward"),
    (lightning.Fabric, "backward", "backward"),
    (torch.optim.AdamW, "step", "optimizer"),
    (AveragedNetwork, "update", "optimizer"),
    (EpochMetrics, "add", "logging: scores"),
    (CheckpointFile, "write", "checkpoint"),
    (TrackedRun, "log_epoch", "logging: MLflow"),
)

_OPERATORS = {
    "convolution": "convolution",
    "native_batch_norm": "batch norm",
    "relu": "ReLU",
    "threshold": "ReLU",
    "max_pool": "pooling",
    "max_unpool": "unpooling",
    "scatter": "unpooling",
    "gather": "unpooling",
    "repeat": "unpooling",
    "_to_copy": "casts",
    "clone": "copies",
    "adam": "optimizer",
    "lerp": "averaged weights",
    "grid_sampler": "augmentation, sampling",
}


def time_parts(width: float, batch: int) -> list[dict[str, Any]]:
    """Train two epochs on 150 samples with checkpoints and MLflow. Return ms per image and share of each part."""
    spent: Spent = defaultdict(float)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        run = TrackedRun(
            f"sqlite:///{folder / 'mlflow.db'}", "benchmark", folder / "mlruns", Description("benchmark", {})
        )
        for owner, name, part in _PARTS:
            stack.enter_context(patch.object(owner, name, _timed(getattr(owner, name), part, spent)))
        callbacks = Callbacks(on_epoch=lambda row: run.log_epoch(row))
        checkpoint = CheckpointFile(folder / "checkpoint.safetensors")
        settings = TrainingSettings(
            architecture="segnet", width=width, batch_size=batch, epochs=EPOCHS, logit_batch_norm=False, loss="bce_dice"
        )
        _fit(batch, settings, callbacks, checkpoint)  # warm-up: imports libraries, selects kernels and allocates memory
        spent.clear()
        start = time.perf_counter()
        _fit(SAMPLES, settings, callbacks, checkpoint)
        total = time.perf_counter() - start
        run.end("FINISHED")
    spent["rest: loss, start, end"] = total - sum(spent.values())
    return _rows(spent, SAMPLES * EPOCHS, {"width": width, "batch": batch})


def _fit(count: int, settings: TrainingSettings, callbacks: Callbacks, checkpoint: CheckpointFile) -> None:
    names = [str(index) for index in range(count)]
    images, masks = (dict(zip(names, tensor.numpy(), strict=True)) for tensor in make_random_images(count))
    samples = pd.DataFrame({"sample_id": names, "subset": "train"})
    fit(TrainingData(images, masks, samples), settings, callbacks, checkpoint)


def time_operators(width: float, batch: int) -> list[dict[str, Any]]:
    """Time each operator in five training steps.

    Returns:
        Rows with ms per image and share. The first row is the arithmetic at the rate of a matrix multiply.
    """
    keep_freed_memory()
    hardware = choose_hardware()
    run = run_epochs(build("segnet", width), batch, hardware)
    clock = _OperatorClock(on_gpu=hardware.device == "cuda")
    with clock:
        for _ in range(2):
            run()
        clock.clear()
        for _ in range(5):
            run()
    spent = clock.spent()
    rate = measure_multiply_rate(hardware)
    where: dict[str, Any] = {"width": width, "batch": batch}
    ms = 3e3 * count_gflop(build("segnet", width)) / rate
    arithmetic = where | {"part": "the arithmetic at the multiply rate", "ms_per_image": ms}
    return [arithmetic, *_rows(spent, 5 * batch, where)]


class _OperatorClock(TorchDispatchMode):
    """Clock for every dispatched operator, including those of the backward pass.

    On a GPU it records events in the queue, since waiting for each operator would be measured, too.
    """

    def __init__(self, on_gpu: bool) -> None:
        super().__init__()
        self._mark = _mark_event if on_gpu else time.perf_counter
        self._marks: list[tuple[str, Any, Any]] = []

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kinds = [kind for part, kind in _OPERATORS.items() if part in str(operator)]
        start = self._mark()
        try:
            return operator(*args, **(kwargs or {}))
        finally:
            self._marks.append((kinds[0] if kinds else "other", start, self._mark()))

    def clear(self) -> None:
        """Discard the times measured so far."""
        self._marks.clear()

    def spent(self) -> Spent:
        """Return the seconds by kind of operator."""
        seconds: Spent = defaultdict(float)
        _now()  # synchronizes, so that all events have been recorded
        for kind, start, end in self._marks:
            seconds[kind] += end - start if isinstance(start, float) else start.elapsed_time(end) / 1e3
        return seconds


def _mark_event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _timed(function: Callable[..., Any], part: str, spent: Spent) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        start = _now()
        try:
            return function(*args, **kwargs)
        finally:
            spent[part] += _now() - start

    return wrapped


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _rows(spent: Spent, images: int, where: dict[str, Any]) -> list[dict[str, Any]]:
    total = sum(spent.values())
    return [
        where | {"part": part, "ms_per_image": 1e3 * seconds / images, "share": seconds / total}
        for part, seconds in sorted(spent.items(), key=lambda item: -item[1])
    ]
