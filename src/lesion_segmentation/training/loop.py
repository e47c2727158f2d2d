"""The training loop."""

import hashlib
import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any

import lightning
import pandas as pd
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from tqdm.auto import tqdm

from lesion_segmentation.core.errors import InputError, first_line, pluralize
from lesion_segmentation.core.hardware import (
    Hardware,
    choose_hardware,
    explain_out_of_memory,
    keep_freed_memory,
    use_threads,
)
from lesion_segmentation.model import Network, NetworkMetadata
from lesion_segmentation.training.callbacks import Callbacks
from lesion_segmentation.training.checkpoints import Checkpoint, CheckpointFile
from lesion_segmentation.training.initialization import prepare_network
from lesion_segmentation.training.samples import SampleTensors, TrainingData, count_samples_per_epoch, load_samples
from lesion_segmentation.training.settings import TrainingSettings
from lesion_segmentation.training.trainer import Trainer

logger = logging.getLogger(__name__)

LONG_EPOCH = 5.0
"""Seconds of an epoch below which nothing is said about a busy processor."""
_RESUMED_METADATA = ("input_size", "resizing", "framing", "data_hash", "input_mean", "input_std")


def fit(
    data: TrainingData,
    settings: TrainingSettings,
    callbacks: Callbacks | None = None,
    checkpoint_file: CheckpointFile | None = None,
    network: Network | None = None,
) -> tuple[Network, pd.DataFrame]:
    """Train a network by a fixed schedule and return the averaged network after the last epoch.

    As a side effect, the process no longer returns freed memory to the operating system (`keep_freed_memory`).

    Args:
        data: Training and validation samples.
        settings: All parameters of the training.
        callbacks: Functions to call after each epoch and on resuming.
        checkpoint_file: Written after the last epoch and whenever a checkpoint is due. With `settings.resume`, the
            training resumes from it; on a CPU, the weights then equal those of an uninterrupted training bit for bit.
        network: Initial network. By default, `prepare_network` builds it from the settings.

    Returns:
        The averaged network, on the CPU, and the history with one row per epoch (`EpochRow`). The columns train_* score
        the network during training on augmented batches, those of the first epochs perhaps at half size. The columns
        validation_* score the averaged network after the epoch. Metrics are means over images. `loss` is the binary
        cross-entropy, whichever loss is minimized.

    Raises:
        InputError: A batch is larger than the training set or does not fit into memory, the device is not available,
            `source_rates` names an unknown source, the loss or a weight is not finite, or the checkpoint is damaged or
            belongs to another training.
    """
    parts = {name: data.select(name) for name in ("train", "validation")}
    subsets = {name: part.sample_ids for name, part in parts.items()}
    hardware = _prepare_process(settings, len(subsets["train"]))
    fabric = make_fabric(hardware)
    network = network or prepare_network(settings, (data.images[sample_id] for sample_id in subsets["train"]))
    train, validation = (load_samples(part, fabric.device, network.annotation_styles) for part in parts.values())
    for head, style in enumerate(network.annotation_styles):
        if head not in train.annotation_styles:
            logger.warning("No training image has the annotation style %s. Its output head is not trained", style)
    trainer = Trainer(fabric, network, settings, settings.epochs * _count_steps(train, settings))
    callbacks, configuration = callbacks or Callbacks(), _describe(settings, network.metadata, subsets)
    if train.masks.is_floating_point():
        configuration["targets"] = "soft"
    history = _resume(trainer, checkpoint_file if settings.resume else None, configuration, callbacks)
    counts = f"{len(train)} training and {pluralize(len(validation), 'validation sample')}"
    logger.info("Training on %s in %s: %s", *hardware, counts)
    comparable = len(history)  # index of the first epoch of this process and, later, of this image size
    warned = hardware.device != "cpu"
    for epoch in _epochs(history, settings.epochs):
        with explain_out_of_memory(settings.batch_size, "training.batch_size"):
            history.append(trainer.run_epoch(epoch, train, validation, subsets["train"]))
        if checkpoint_file is not None and (epoch == settings.epochs or checkpoint_file.is_due()):
            checkpoint_file.write(Checkpoint(*trainer.state(), history, configuration, callbacks.run_id))
        callbacks.on_epoch(history[-1])
        if epoch == settings.half_size_epochs + 1:
            comparable = epoch - 1
        warned = warned or _warn_if_processor_is_busy(history[comparable:])
    network = trainer.averaged.network.cpu()
    trainer.require_finite_weights()
    return network, pd.DataFrame(history)


def make_fabric(hardware: Hardware) -> lightning.Fabric:
    """Create a single-process Fabric. Without an environment, Lightning detects Slurm and waits for other ranks."""
    device, precision = hardware
    return lightning.Fabric(accelerator=device, devices=1, precision=precision, plugins=LightningEnvironment())


def _prepare_process(settings: TrainingSettings, samples: int) -> Hardware:
    if settings.batch_size > samples:
        raise InputError(
            f"training.batch_size is {settings.batch_size}, but the training set has only "
            f"{pluralize(samples, 'sample')}. Use at most {samples}."
        )
    keep_freed_memory()
    use_threads(settings.threads)
    return choose_hardware(settings.device, settings.precision)


def _count_steps(train: SampleTensors, settings: TrainingSettings) -> int:
    """Return the number of updates of an epoch, and log the samples of each source if there are several."""
    counts = count_samples_per_epoch(train.sources, settings.source_rates)
    if len(counts) > 1:
        logger.info("Samples per epoch: %s", ", ".join(f"{count} of {source}" for source, count in counts.items()))
    return math.ceil(sum(counts.values()) / settings.batch_size)


def _epochs(history: list[dict[str, float]], count: int) -> Iterator[int]:
    """Yield the remaining epochs, with a progress bar that shows the Dice of the last one."""
    done = len(history)
    with tqdm(range(done + 1, count + 1), desc="training", unit="epoch", initial=done, total=count) as progress:
        for epoch in progress:
            yield epoch
            shown = {name: history[-1][name] for name in ("train_dice", "validation_dice") if name in history[-1]}
            progress.set_postfix({name: f"{value:.3f}" for name, value in shown.items()})


def _warn_if_processor_is_busy(history: list[dict[str, float]]) -> bool:
    """Warn if the last epoch would have been faster with one thread, and return whether it is so.

    Several threads wait for each other in every layer, so one that another process delays delays them all. One thread
    on a free core takes at most as many times the fastest epoch as there are threads.
    """
    threads, fastest, last = torch.get_num_threads(), min(row["seconds"] for row in history), history[-1]["seconds"]
    if threads == 1 or last < max(LONG_EPOCH, 1.25 * threads * fastest):
        return False
    logger.warning(
        "Epoch %d took %.0f seconds, the fastest one %.0f. Probably another process uses the processor. With "
        "training.threads=1, such an epoch would take about %.0f seconds if one core is free. Results differ in their "
        "last digits",
        history[-1]["epoch"], last, fastest, threads * fastest,
    )  # fmt: skip
    return True


def _resume(
    trainer: Trainer, checkpoint_file: CheckpointFile | None, configuration: Mapping[str, Any], callbacks: Callbacks
) -> list[dict[str, float]]:
    """Restore the checkpoint if there is one, report it to the callbacks, and return the history so far."""
    checkpoint = None if checkpoint_file is None else checkpoint_file.read(configuration)
    if checkpoint is None:
        return []
    try:
        trainer.restore(checkpoint.tensors, checkpoint.values)
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"The checkpoint is damaged ({first_line(error)}). To train from the start, omit training.resume."
        ) from error
    logger.info("Resuming after epoch %d of run %s", len(checkpoint.history), checkpoint.run_id or "unknown")
    callbacks.on_resume(checkpoint.run_id)
    for row in checkpoint.history:
        callbacks.on_epoch(row)
    return checkpoint.history


def _describe(
    settings: TrainingSettings, metadata: NetworkMetadata, subsets: Mapping[str, list[str]]
) -> dict[str, Any]:
    """Return everything that must be the same when a training resumes: settings, network metadata and samples."""
    samples = "\n".join(f"{sample_id},{name}" for name, ids in subsets.items() for sample_id in ids)
    return {
        **{f"training.{name}": value for name, value in settings.model_dump(mode="json", exclude={"resume"}).items()},
        **{name: getattr(metadata, name) for name in _RESUMED_METADATA},
        "samples": hashlib.sha256(samples.encode()).hexdigest()[:16],
    }
