"""The training loop: the only one."""

import hashlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import lightning
import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor, nn
from tqdm.auto import tqdm

from lesion_segmentation.errors import InputError
from lesion_segmentation.evaluation import legacy_scores
from lesion_segmentation.hardware import choose_hardware, keep_freed_memory
from lesion_segmentation.model import Network, NetworkMetadata, build_network
from lesion_segmentation.model.scaling import scale
from lesion_segmentation.training.augmentation import Draws, augment, draw
from lesion_segmentation.training.averaging import AveragedNetwork
from lesion_segmentation.training.checkpoints import Checkpoint, CheckpointFile
from lesion_segmentation.training.listener import Listener
from lesion_segmentation.training.losses import LOSSES
from lesion_segmentation.training.optimisation import build_optimiser, build_schedule
from lesion_segmentation.training.settings import TrainingSettings
from lesion_segmentation.training.tally import Tally

logger = logging.getLogger(__name__)

VALIDATION_SCORES: dict[str, Callable[[np.ndarray, np.ndarray], dict[str, float]]] = {"legacy": legacy_scores}
"""Probabilities and masks, both (N, H, W), to further scores of validation."""


@dataclass(frozen=True)
class Pictures:
    """images: uint8 (N, 3, H, W); masks: uint8 (N, 1, H, W), 0 or 1; both on the training device."""

    images: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, 3, H, W), 0 to 255, and masks (n, 1, H, W), both float32."""
        return self.images[indices].float(), self.masks[indices].float()


def fit(
    images: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    samples: pd.DataFrame,
    settings: TrainingSettings,
    listener: Listener | None = None,
    checkpoint_file: CheckpointFile | None = None,
) -> tuple[Network, pd.DataFrame]:
    """Train a network by a fixed schedule and return its last averaged weights.

    Args:
        images: sample_id to uint8 (H, W, 3), all of one size.
        masks: sample_id to uint8 (H, W), 0 or 1.
        samples: sample_id and subset (train or validation); order of the rows is the order before shuffling.
        settings: Network, optimiser, schedule, augmentation, hardware.
        listener: Told of each epoch as it ends, and of a run that this training goes on from.
        checkpoint_file: Written after each epoch; with `settings.resume` the training goes on from it, and ends with
            the weights, bit for bit on a CPU, of one that was never interrupted.

    Returns:
        The averaged network, on the CPU; and the history, one row an epoch. Its train_* columns come from the
        running network on the augmented batches, its validation_* columns from the averaged one; loss is plain
        binary cross-entropy, all are means over images.

    Raises:
        InputError: The batch is larger than the training set, the loss is no longer finite, or the checkpoint is of
            another training.
    """
    subsets = {name: samples.loc[samples["subset"] == name, "sample_id"] for name in ("train", "validation")}
    if settings.batch_size > len(subsets["train"]):
        raise InputError(
            f"training.batch_size is {settings.batch_size}, but there are only "
            f"{len(subsets['train'])} training samples. Choose a smaller batch."
        )
    hardware = choose_hardware(settings.device, settings.precision)
    fabric = lightning.Fabric(accelerator=hardware.device, devices=1, precision=hardware.precision)
    train, validation = (_load(images, masks, ids, fabric.device) for ids in subsets.values())
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        network = build_network(_metadata(settings, images, subsets["train"]))
    trainer = Trainer(fabric, network, settings, steps=settings.epochs * math.ceil(len(train) / settings.batch_size))
    watcher = listener or Listener()
    configuration = _describe(settings, network.metadata, samples)
    history = _resume(trainer, settings, checkpoint_file, configuration, watcher)
    logger.info("Training on %s in %s: %d samples, %d for validation", *hardware, len(train), len(validation))
    with tqdm(
        range(len(history) + 1, settings.epochs + 1),
        desc="training",
        unit="epoch",
        initial=len(history),
        total=settings.epochs,
    ) as progress:
        for epoch in progress:
            history.append(trainer.run_epoch(epoch, train, validation, list(subsets["train"])))
            if checkpoint_file is not None:
                state = trainer.state()
                checkpoint_file.write(Checkpoint(*state, history, configuration, watcher.run_id))
            watcher.on_epoch(history[-1])
            shown = {name: history[-1][name] for name in ("train_dice", "validation_dice") if name in history[-1]}
            progress.set_postfix({name: f"{value:.3f}" for name, value in shown.items()})
    return trainer.averaged.network.cpu(), pd.DataFrame(history)


def _resume(
    trainer: "Trainer",
    settings: TrainingSettings,
    checkpoint_file: CheckpointFile | None,
    configuration: Mapping[str, Any],
    listener: Listener,
) -> list[dict[str, float]]:
    """Bring the trainer to where the checkpoint left off, tell the listener, and give the history so far."""
    checkpoint = checkpoint_file.read(configuration) if settings.resume and checkpoint_file is not None else None
    if checkpoint is None:
        return []
    trainer.restore(checkpoint.tensors, checkpoint.values)
    logger.info("Going on after epoch %d of run %s", len(checkpoint.history), checkpoint.run_id or "unknown")
    listener.on_resume(checkpoint.run_id)
    for row in checkpoint.history:
        listener.on_epoch(row)
    return checkpoint.history


def _describe(settings: TrainingSettings, metadata: NetworkMetadata, samples: pd.DataFrame) -> dict[str, Any]:
    """What must be the same for a training to go on: settings, scaling and samples."""
    chosen = samples[["sample_id", "subset"]].to_csv(index=False)
    return {
        **{f"training.{name}": value for name, value in settings.model_dump(mode="json", exclude={"resume"}).items()},
        "input_mean": metadata.input_mean,
        "input_std": metadata.input_std,
        "samples": hashlib.sha256(chosen.encode()).hexdigest()[:16],
    }


class Trainer:
    """What changes while a network is trained."""

    def __init__(self, fabric: lightning.Fabric, network: Network, settings: TrainingSettings, steps: int) -> None:
        keep_freed_memory()
        self.fabric, self.settings, self.metadata = fabric, settings, network.metadata
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = settings.batch_norm_momentum
        network = network.to(fabric.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = AveragedNetwork(network, settings.ema_decay)
        optimiser = build_optimiser(network, settings)
        self.schedule = build_schedule(optimiser, settings, steps)
        self.raw_network = network
        self.network, self.optimiser = fabric.setup(network, optimiser)
        self.loss = LOSSES[settings.loss]

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the next epoch depends on: tensors, and plain values."""
        tensors = {f"network.{name}": tensor for name, tensor in self.raw_network.state_dict().items()}
        tensors |= {f"averaged.{name}": tensor for name, tensor in self.averaged.network.state_dict().items()}
        optimiser = self.optimiser.state_dict()
        for index, parts in optimiser["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in parts.items() if value is not None}
        values = {
            "groups": optimiser["param_groups"],
            "schedule": {k: v for k, v in self.schedule.state_dict().items() if k != "lr_lambdas"},
            "updates": self.averaged.updates,
        }
        return tensors, values

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Return to a state."""
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "averaged": {}, "optimiser": {}}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            parts[kind][rest] = tensor
        self.raw_network.load_state_dict(parts["network"])
        self.averaged.network.load_state_dict(parts["averaged"])
        self.averaged.updates = values["updates"]
        parameters = list(self.raw_network.parameters())
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["optimiser"].items():
            index, _, key = name.partition(".")
            # The fused optimiser goes through memory: what it keeps must lie there as its parameter does.
            like = parameters[int(index)]
            state.setdefault(int(index), {})[key] = torch.empty_like(like).copy_(tensor) if tensor.ndim else tensor
        self.optimiser.load_state_dict({"state": state, "param_groups": values["groups"]})
        self.schedule.load_state_dict({**self.schedule.state_dict(), **values["schedule"]})

    def run_epoch(self, epoch: int, train: Pictures, validation: Pictures, sample_ids: list[str]) -> dict[str, float]:
        """Train once over all samples, then score the averaged network on the validation samples."""
        start = time.perf_counter()
        learning_rate = self.optimiser.param_groups[0]["lr"]
        order, draws = self._draw_epoch(epoch, train)
        tally = Tally()
        finite: list[Tensor] = []
        self.network.train()
        for first in range(0, len(train), self.settings.batch_size):
            chosen = slice(first, first + self.settings.batch_size)
            pixels, masks = train.batch(order[chosen])
            if draws is not None:
                pixels, masks = augment(pixels, masks, draws.take(chosen))
            finite.append(self.step(pixels, masks, tally))
        self._require_finite(torch.stack(finite), epoch, learning_rate, [sample_ids[i] for i in order.tolist()])
        row = {"epoch": epoch, "learning_rate": learning_rate}
        row |= {f"train_{name}": score for name, score in tally.scores().items()}
        if len(validation):
            row |= {f"validation_{name}": score for name, score in self._validate(validation).items()}
        return row | {"seconds": time.perf_counter() - start}

    def step(self, pixels: Tensor, masks: Tensor, tally: Tally) -> Tensor:
        """One update on pixels (n, 3, H, W), 0 to 255, and masks (n, 1, H, W); gives whether the loss was finite."""
        inputs = scale(pixels, self.metadata).contiguous(memory_format=torch.channels_last)
        logits = self.network(inputs)
        loss = self.loss(logits, masks)
        self.fabric.backward(loss)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.schedule.step()
        self.averaged.update(self.raw_network)
        tally.add(logits.detach(), masks)
        return loss.detach().isfinite()

    def _require_finite(self, finite: Tensor, epoch: int, learning_rate: float, order: list[str]) -> None:
        """Look once an epoch, so that no step waits for the device."""
        if bool(finite.all()):
            return
        first = int((~finite).nonzero()[0]) * self.settings.batch_size
        batch = ", ".join(order[first : first + self.settings.batch_size])
        kept = f"the checkpoint of epoch {epoch - 1} is kept" if epoch > 1 else "there is no checkpoint yet"
        raise InputError(
            f"the loss was no longer finite in epoch {epoch} (learning rate {learning_rate:.2g}), first on the batch "
            f"of {batch}; {kept}. Lower training.learning_rate."
        )

    def _draw_epoch(self, epoch: int, train: Pictures) -> tuple[Tensor, Draws | None]:
        """The order of the samples and their augmentation: they depend on the seed and the epoch alone."""
        generator = Generator().manual_seed(self.settings.seed * 1_000_003 + epoch)
        order = torch.randperm(len(train), generator=generator).to(self.fabric.device)
        if not self.settings.on_the_fly.enabled:
            return order, None
        height, width = train.images.shape[2:]
        return order, draw(len(train), height, width, self.settings.on_the_fly, generator).to(self.fabric.device)

    @torch.no_grad()
    def _validate(self, validation: Pictures) -> dict[str, float]:
        tally = Tally()
        maps: list[Tensor] = []
        for indices in torch.arange(len(validation), device=self.fabric.device).split(self.settings.batch_size):
            pixels, masks = validation.batch(indices)
            inputs = scale(pixels, self.metadata).contiguous(memory_format=torch.channels_last)
            with self.fabric.autocast():
                logits = self.averaged.network(inputs).float()
            tally.add(logits, masks)
            if self.settings.validation_scores:
                maps.append(logits[:, 0].sigmoid())
        return tally.scores() | self._score_further(maps, validation)

    def _score_further(self, maps: list[Tensor], validation: Pictures) -> dict[str, float]:
        """What `validation_scores` asks for, by name: legacy_iou, legacy_dice and so on."""
        if not maps:
            return {}
        probabilities, masks = torch.cat(maps).cpu().numpy(), validation.masks[:, 0].cpu().numpy()
        return {
            f"{name}_{score}": value
            for name in self.settings.validation_scores
            for score, value in VALIDATION_SCORES[name](probabilities, masks).items()
        }


def _load(
    images: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], sample_ids: pd.Series, device: torch.device
) -> Pictures:
    """All pictures of a subset as two tensors on the device: PH2 is small enough for any of them."""
    if sample_ids.empty:
        return Pictures(torch.empty(0, 3, 0, 0), torch.empty(0, 1, 0, 0))
    stacked = torch.from_numpy(np.stack([images[sample_id] for sample_id in sample_ids])).permute(0, 3, 1, 2)
    stacked_masks = torch.from_numpy(np.stack([masks[sample_id] for sample_id in sample_ids]))[:, None]
    return Pictures(stacked.contiguous().to(device), stacked_masks.to(device))


def _metadata(settings: TrainingSettings, images: Mapping[str, np.ndarray], train_ids: pd.Series) -> NetworkMetadata:
    metadata = NetworkMetadata(settings.architecture, settings.width, settings.unpooling, settings.logit_batch_norm)
    if settings.scaling == "raw":
        return metadata
    pixels = np.stack([images[sample_id] for sample_id in train_ids]).reshape(-1, 3)
    mean, std = pixels.mean(axis=0, dtype=np.float64), pixels.std(axis=0, dtype=np.float64)
    return replace(metadata, input_mean=_rgb(mean), input_std=_rgb(np.maximum(std, 1.0)))


def _rgb(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
