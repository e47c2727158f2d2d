"""The state of a training: network, averaged network, optimizer and schedule."""

import time
from collections.abc import Mapping
from typing import Any

import lightning
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from lesion_segmentation.core.errors import RecipeError, pluralize
from lesion_segmentation.core.tensor_files import find_mismatches
from lesion_segmentation.model import Network
from lesion_segmentation.model.metadata import Scaling
from lesion_segmentation.training.augmentation import (
    AugmentationParameters,
    apply_augmentation,
    sample_augmentation,
    select_rows,
)
from lesion_segmentation.training.epoch_metrics import EpochMetrics
from lesion_segmentation.training.optimization import LOSSES, AveragedNetwork, build_optimizer, build_schedule
from lesion_segmentation.training.samples import SampleTensors, sample_order
from lesion_segmentation.training.settings import VALIDATION_SCORES, TrainingSettings

_OPTIMIZER_STATE = {"adamw": ("step", "exp_avg", "exp_avg_sq"), "sgd": ("momentum_buffer",)}
"""Tensors that an optimizer keeps for each parameter."""


class Trainer:
    """A training that runs epoch by epoch.

    Args:
        network: The network to train. It is moved to the device, and the momentum of its batch norms is set.
        steps: Total number of updates, which the schedule of the learning rate spans.
    """

    def __init__(self, fabric: lightning.Fabric, network: Network, settings: TrainingSettings, steps: int) -> None:
        self.fabric, self.settings = fabric, settings
        self._scaling = Scaling(network.metadata, fabric.device)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = settings.batch_norm_momentum
        network = network.to(fabric.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = AveragedNetwork(network, settings.ema_decay)
        optimizer = build_optimizer(network, settings)
        self.schedule = build_schedule(optimizer, settings, steps)
        self.raw_network = network
        self.network, self.optimizer = fabric.setup(network, optimizer)
        self.loss = LOSSES[settings.loss]

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the state that the next epoch depends on, as tensors by name and plain JSON values."""
        tensors = {f"network.{name}": tensor for name, tensor in self.raw_network.own_state().items()}
        tensors |= {f"averaged.{name}": tensor for name, tensor in self.averaged.network.own_state().items()}
        optimizer = self.optimizer.state_dict()
        for index, parts in optimizer["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in parts.items() if value is not None}
        values = {
            "groups": optimizer["param_groups"],
            "schedule": {k: v for k, v in self.schedule.state_dict().items() if k != "lr_lambdas"},
            "updates": self.averaged.updates,
            # Some networks have parameters that get no gradient.
            "unreached": [index for index in range(len(self._optimized())) if index not in optimizer["state"]],
        }
        return tensors, values

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Restore what `state` returned. Tensors of another training raise a ValueError or LookupError."""
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "averaged": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            parts[kind][rest] = tensor
        self.raw_network.load_own_state(parts["network"])
        self.averaged.network.load_own_state(parts["averaged"])
        self.averaged.updates = values["updates"]
        parameters = self._optimized()
        expected = {
            f"{index}.{key}": torch.zeros(()) if key == "step" else parameter.detach()
            for index, parameter in enumerate(parameters)
            if index not in values["unreached"]
            for key in _OPTIMIZER_STATE[self.settings.optimizer]
        }
        if wrong := find_mismatches(expected, parts["optimizer"]):
            raise ValueError(f"{pluralize(len(wrong), 'wrong tensor')} for this optimizer, such as {wrong[0]}")
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["optimizer"].items():
            index, _, key = name.partition(".")
            # The fused optimizer walks through memory, so its state must have the memory layout of the parameter.
            like = parameters[int(index)]
            state.setdefault(int(index), {})[key] = torch.empty_like(like).copy_(tensor) if tensor.ndim else tensor
        self.optimizer.load_state_dict({"state": state, "param_groups": values["groups"]})
        self.schedule.load_state_dict({**self.schedule.state_dict(), **values["schedule"]})

    def _optimized(self) -> list[nn.Parameter]:
        """Return the parameters in the order in which the optimizer numbers them, group by group."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def run_epoch(
        self, epoch: int, train: SampleTensors, validation: SampleTensors, sample_ids: list[str]
    ) -> dict[str, float]:
        """Train for one epoch (from 1), then score the averaged network on the validation samples, if any.

        Returns:
            The row of the training history (`EpochRow`), with scores as fractions.

        Raises:
            RecipeError: The loss of a batch is not finite. The message names the `sample_ids` of that batch.
        """
        start = time.perf_counter()
        learning_rate = self.optimizer.param_groups[0]["lr"]
        order, augmentation = self.sample_epoch(epoch, train)
        soft = train.masks.is_floating_point()
        metrics = EpochMetrics()
        finite: list[Tensor] = []
        self.network.train()
        for first in range(0, len(order), self.settings.batch_size):
            chosen = slice(first, first + self.settings.batch_size)
            pixels, masks = train.batch(order[chosen])
            annotation_styles = train.annotation_styles[order[chosen]]
            if epoch <= self.settings.half_size_epochs:
                pixels, masks = halve(pixels, masks, soft)
            if augmentation is not None:
                pixels, masks = apply_augmentation(pixels, masks, select_rows(augmentation, chosen), soft)
            finite.append(self.step(pixels, masks, metrics, annotation_styles))
        self._require_finite(torch.stack(finite), epoch, learning_rate, order, sample_ids)
        row = {"epoch": epoch, "learning_rate": learning_rate}
        row |= {f"train_{name}": score for name, score in metrics.scores().items()}
        if len(validation):
            row |= {f"validation_{name}": score for name, score in self.validate(validation).items()}
        return row | {"seconds": time.perf_counter() - start}

    def step(
        self, pixels: Tensor, masks: Tensor, metrics: EpochMetrics, annotation_styles: Tensor | None = None
    ) -> Tensor:
        """Make one update of the weights without waiting for the device.

        Args:
            pixels: (n, 3, H, W), 0 to 255.
            masks: (n, 1, H, W), 0 to 1.
            metrics: The batch is added to it.
            annotation_styles: (n,), index of the output head that is trained on each image. None if there is one head.

        Returns:
            Whether the loss is finite, a boolean tensor on the device.
        """
        logits = _select_heads(self.network(self._scale(pixels)), annotation_styles)
        loss = self.loss(logits, masks)
        self.fabric.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        self.averaged.update()
        metrics.add(logits.detach(), masks)
        return loss.detach().isfinite()

    def sample_epoch(self, epoch: int, train: SampleTensors) -> tuple[Tensor, AugmentationParameters | None]:
        """Sample the order and the augmentation of an epoch. With equal samples, they depend only on seed and epoch."""
        generator = Generator().manual_seed(self.settings.seed * 1_000_003 + epoch)
        order = sample_order(train.sources, self.settings.source_rates, generator).to(self.fabric.device)
        if not self.settings.online_augmentation.enabled:
            return order, None
        height, width = train.images.shape[2:]
        parameters = sample_augmentation(len(order), height, width, self.settings.online_augmentation, generator)
        return order, {name: value.to(self.fabric.device) for name, value in parameters.items()}

    @torch.no_grad()
    def validate(self, validation: SampleTensors) -> dict[str, float]:
        """Return the metrics of the averaged network, and the scores that `settings.validation_scores` names."""
        metrics = EpochMetrics()
        probabilities: list[Tensor] = []
        for indices in torch.arange(len(validation), device=self.fabric.device).split(self.settings.batch_size):
            pixels, masks = validation.batch(indices)
            with self.fabric.autocast():
                logits = self.averaged.network(self._scale(pixels)).float()
            logits = _select_heads(logits, validation.annotation_styles[indices])
            metrics.add(logits, masks)
            if self.settings.validation_scores:
                probabilities.append(logits[:, 0].sigmoid())
        scores = metrics.scores()
        for name in self.settings.validation_scores:
            predicted, truth = torch.cat(probabilities).cpu().numpy(), validation.masks[:, 0].cpu().numpy()
            further = VALIDATION_SCORES[name](predicted, truth)
            scores |= {f"{name}_{score}": value for score, value in further.items()}
        return scores

    def require_finite_weights(self) -> None:
        """Refuse an averaged network that is not finite after the last update, since no loss is computed after it."""
        wrong = [name for name, tensor in self.averaged.network.state_dict().items() if not tensor.isfinite().all()]
        if wrong:
            raise RecipeError(
                f"The training diverged in its last update: {len(wrong)} of the network's tensors are not finite "
                f"({', '.join(wrong[:3])}, ...), and neither are those of the last checkpoint. Lower "
                "training.learning_rate and train from the start."
            )

    def _scale(self, pixels: Tensor) -> Tensor:
        return self._scaling(pixels).contiguous(memory_format=torch.channels_last)

    def _require_finite(
        self, finite: Tensor, epoch: int, learning_rate: float, order: Tensor, sample_ids: list[str]
    ) -> None:
        """Check the losses once per epoch, so that no step waits for the device."""
        if bool(finite.all()):
            return
        first = int((~finite).nonzero()[0]) * self.settings.batch_size
        batch = ", ".join(sample_ids[i] for i in order[first : first + self.settings.batch_size].tolist())
        checkpoint = "the last checkpoint is kept" if epoch > 1 else "there is no checkpoint yet"
        raise RecipeError(
            f"The loss is no longer finite in epoch {epoch} (learning rate {learning_rate:.2g}), first on the batch of "
            f"{batch}; {checkpoint}. Lower training.learning_rate."
        )


def halve(pixels: Tensor, masks: Tensor, soft: bool = False) -> tuple[Tensor, Tensor]:
    """Average pixels (N, 3, H, W) and masks (N, 1, H, W) over blocks of 2 x 2 pixels.

    The results have ceil(H / 2) rows and ceil(W / 2) columns. With `soft`, masks have values from 0 to 1. Otherwise
    they are 0 or 1, and so are those that are returned: a block is lesion if at least half of it is.
    """
    pixels, masks = (F.avg_pool2d(tensor, 2, ceil_mode=True) for tensor in (pixels, masks))
    return pixels, masks if soft else (masks >= 0.5).to(masks.dtype)


def _select_heads(logits: Tensor, annotation_styles: Tensor | None) -> Tensor:
    """Return the logits (n, 1, H, W) of each image's output head, given those of all heads, (n, heads, H, W)."""
    if annotation_styles is None or logits.shape[1] == 1:
        return logits
    return logits.gather(1, annotation_styles[:, None, None, None].expand(-1, 1, *logits.shape[2:]))
