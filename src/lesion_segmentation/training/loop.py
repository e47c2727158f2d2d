"""From samples to a network: the only training loop."""

import hashlib
import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import lightning
import numpy as np
import pandas as pd
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from tqdm.auto import tqdm

from lesion_segmentation.core.errors import InputError, first_line
from lesion_segmentation.core.hardware import Hardware, choose_hardware, enough_memory, keep_freed_memory, use_threads
from lesion_segmentation.model import Network, NetworkMetadata, build_network
from lesion_segmentation.model.metadata import Triple
from lesion_segmentation.training.callbacks import Callbacks
from lesion_segmentation.training.checkpoints import Checkpoint, CheckpointFile
from lesion_segmentation.training.initialization import Initialization, take_weights
from lesion_segmentation.training.samples import Pictures, load_samples
from lesion_segmentation.training.settings import TrainingSettings
from lesion_segmentation.training.source_sampling import count_samples_per_epoch, require_sources
from lesion_segmentation.training.trainer import Trainer

logger = logging.getLogger(__name__)


def fit(
    images: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    samples: pd.DataFrame,
    settings: TrainingSettings,
    callbacks: Callbacks | None = None,
    checkpoint_file: CheckpointFile | None = None,
    network: Network | None = None,
) -> tuple[Network, pd.DataFrame]:
    """Train a network by a fixed schedule and return its last averaged weights. The process keeps freed memory.

    Args:
        images: sample_id to uint8 (H, W, 3), all of one size.
        masks: sample_id to uint8 (H, W), 0 or 1.
        samples: sample_id and subset (other than train and validation are left out), in the order before shuffling.
        settings: Network, optimizer, schedule, changes on the fly, hardware.
        callbacks: Told of each epoch as it ends, and of a run that this training goes on from.
        checkpoint_file: Written after the last epoch and each after which it is due; with `settings.resume` the
            training goes on from it, and ends with the weights, bit for bit on a CPU, of one never interrupted.
        network: What to begin with; by default what prepare_network gives.

    Returns:
        The averaged network, on the CPU; and the history, one row an epoch. Its train_* columns come from the
        running network on the changed batches, its validation_* columns from the averaged one; loss is plain
        binary cross-entropy, all are means over images.

    Raises:
        InputError: A batch is more than all, the loss is no longer finite, or the checkpoint is another training's.
    """
    parts = {name: samples[samples["subset"] == name] for name in ("train", "validation")}
    subsets = {name: list(part["sample_id"]) for name, part in parts.items()}
    _require_a_batch(settings.batch_size, len(subsets["train"]))
    keep_freed_memory()
    use_threads(settings.threads)
    hardware = choose_hardware(settings.device, settings.precision)
    fabric = make_fabric(hardware)
    network = network or prepare_network(settings, (images[sample_id] for sample_id in subsets["train"]))
    train, validation = (
        load_samples(images, masks, part, fabric.device, network.annotation_styles) for part in parts.values()
    )
    trainer = Trainer(fabric, network, settings, settings.epochs * _count_steps(train, settings))
    watcher, configuration = callbacks or Callbacks(), _describe(settings, network.metadata, subsets)
    history = _resume(trainer, settings, checkpoint_file, configuration, watcher)
    logger.info("Training on %s in %s: %d samples, %d for validation", *hardware, len(train), len(validation))
    for epoch in _epochs(history, settings.epochs):
        with enough_memory(settings.batch_size, "training.batch_size"):
            history.append(trainer.run_epoch(epoch, train, validation, subsets["train"]))
        if checkpoint_file is not None and (epoch == settings.epochs or checkpoint_file.is_due()):
            checkpoint_file.write(Checkpoint(*trainer.state(), history, configuration, watcher.run_id))
        watcher.on_epoch(history[-1])
    network = trainer.averaged.network.cpu()
    trainer.require_finite_weights()
    return network, pd.DataFrame(history)


def make_fabric(hardware: Hardware) -> lightning.Fabric:
    """Of one process, whatever a cluster's variables say: in a job of Slurm's Lightning would wait for the others."""
    return lightning.Fabric(
        accelerator=hardware.device, devices=1, precision=hardware.precision, plugins=LightningEnvironment()
    )


def prepare_network(
    settings: TrainingSettings, images: Iterable[np.ndarray], initialization: Initialization | None = None
) -> Network:
    """A network with fresh weights of `settings.seed`; its metadata say how pictures like these are fed to it.

    Args:
        settings: Architecture, options, scaling, seed.
        images: Of the training samples, uint8 (H, W, 3), all of one size.
        initialization: What it, or its encoder, begins with instead.

    Raises:
        InputError: The architecture or an option is unknown, or the encoder's weights are for another one.
    """
    encoder, earlier = initialization or Initialization()
    stream = iter(images)
    first = next(stream)
    height, width, _ = first.shape
    metadata = NetworkMetadata(settings.architecture, settings.network_options, input_size=(height, width))
    if earlier is not None:
        metadata = replace(metadata, input_mean=earlier.metadata.input_mean, input_std=earlier.metadata.input_std)
    elif settings.scaling == "standardized":
        mean, std = _measure_pixels(chain([first], stream))
        metadata = replace(metadata, input_mean=mean, input_std=std)
    elif settings.scaling == "encoder" and encoder is not None:
        metadata = replace(metadata, input_mean=encoder.input_mean, input_std=encoder.input_std)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = build_network(metadata)
    if encoder is not None:
        network.load_encoder(encoder.tensors)
    if earlier is not None:
        take_weights(network, earlier)
    return network


def _require_a_batch(batch_size: int, samples: int) -> None:
    if batch_size > samples:
        raise InputError(
            f"training.batch_size is {batch_size}, but there are only {samples} training samples. "
            "Choose a smaller batch."
        )


def _count_steps(train: Pictures, settings: TrainingSettings) -> int:
    """Of an epoch; tells what it shows of each source, where there are several."""
    require_sources(settings.source_rates, train.sources)
    seen = count_samples_per_epoch(train.sources, settings.source_rates)
    if len(seen) > 1:
        logger.info("An epoch shows %s", ", ".join(f"{count} of {source}" for source, count in seen.items()))
    return math.ceil(sum(seen.values()) / settings.batch_size)


def _epochs(history: list[dict[str, float]], count: int) -> Iterator[int]:
    """The epochs that are left, with a progress bar that shows the last row's Dice."""
    done = len(history)
    with tqdm(range(done + 1, count + 1), desc="training", unit="epoch", initial=done, total=count) as progress:
        for epoch in progress:
            yield epoch
            shown = {name: history[-1][name] for name in ("train_dice", "validation_dice") if name in history[-1]}
            progress.set_postfix({name: f"{value:.3f}" for name, value in shown.items()})


def _resume(
    trainer: Trainer,
    settings: TrainingSettings,
    checkpoint_file: CheckpointFile | None,
    configuration: Mapping[str, Any],
    callbacks: Callbacks,
) -> list[dict[str, float]]:
    """Bring the trainer to where the checkpoint left off, tell the callbacks, and give the history so far."""
    checkpoint = checkpoint_file.read(configuration) if settings.resume and checkpoint_file is not None else None
    if checkpoint is None:
        return []
    try:
        trainer.restore(checkpoint.tensors, checkpoint.values)
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        cause = first_line(error)
        raise InputError(
            f"The checkpoint is damaged ({cause}). Train from the start: leave out training.resume"
        ) from error
    logger.info("Going on after epoch %d of run %s", len(checkpoint.history), checkpoint.run_id or "unknown")
    callbacks.on_resume(checkpoint.run_id)
    for row in checkpoint.history:
        callbacks.on_epoch(row)
    return checkpoint.history


def _describe(
    settings: TrainingSettings, metadata: NetworkMetadata, subsets: Mapping[str, list[str]]
) -> dict[str, Any]:
    """What must be the same for a training to go on: settings, scaling and samples."""
    chosen = "\n".join(f"{sample_id},{name}" for name, ids in subsets.items() for sample_id in ids)
    return {
        **{f"training.{name}": value for name, value in settings.model_dump(mode="json", exclude={"resume"}).items()},
        "input_size": metadata.input_size,
        "resizing": metadata.resizing,
        "framing": metadata.framing,
        "data_hash": metadata.data_hash,
        "input_mean": metadata.input_mean,
        "input_std": metadata.input_std,
        "samples": hashlib.sha256(chosen.encode()).hexdigest()[:16],
    }


def _measure_pixels(images: Iterable[np.ndarray]) -> tuple[Triple, Triple]:
    """Mean and deviation of each channel over all pixels, from exact sums of one picture after the other."""
    count, total, squares = 0, np.zeros(3), np.zeros(3)
    for image in images:
        pixels = image.reshape(-1, 3).astype(np.int64)
        count += len(pixels)
        total += pixels.sum(axis=0)
        squares += (pixels**2).sum(axis=0)
    mean = total / count
    return _rgb(mean), _rgb(np.maximum(np.sqrt(squares / count - mean**2), 1.0))


def _rgb(values: np.ndarray) -> Triple:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
