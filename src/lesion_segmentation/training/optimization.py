"""Losses, optimizers, learning rate schedules, and the averaging of weights."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from lesion_segmentation.model import Network
from lesion_segmentation.training.settings import TrainingSettings


def dice_loss(logits: Tensor, masks: Tensor, smooth: float = 1.0) -> Tensor:
    """1 - soft Dice, (2 sum(p y) + smooth) / (sum(p) + sum(y) + smooth) per image, averaged over images.

    The definition is that of Milletari, Navab and Ahmadi, "V-Net" (2016), without the squares. monai.losses.DiceLoss,
    with which tests compare this and the next loss, rounds differently in the last bits and would change all weights.
    """
    probabilities = logits.sigmoid()
    overlap = (probabilities * masks).sum(dim=(1, 2, 3))
    total = probabilities.sum(dim=(1, 2, 3)) + masks.sum(dim=(1, 2, 3))
    return 1 - ((2 * overlap + smooth) / (total + smooth)).mean()


def iou_loss(logits: Tensor, masks: Tensor, smooth: float = 1.0) -> Tensor:
    """1 - soft IoU, (sum(p y) + smooth) / (sum(p) + sum(y) - sum(p y) + smooth) per image, averaged over images.

    The definition is that of Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks" (2016).
    """
    probabilities = logits.sigmoid()
    overlap = (probabilities * masks).sum(dim=(1, 2, 3))
    union = probabilities.sum(dim=(1, 2, 3)) + masks.sum(dim=(1, 2, 3)) - overlap
    return 1 - ((overlap + smooth) / (union + smooth)).mean()


def _binary(masks: Tensor) -> Tensor:
    """Binarize means of several annotators' masks at 0.5. Binary masks stay the same."""
    return (masks >= 0.5).to(masks.dtype)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bce": binary_cross_entropy_with_logits,
    "bce_dice": lambda logits, masks: (
        binary_cross_entropy_with_logits(logits, masks) + dice_loss(logits, _binary(masks))
    ),
    "bce_iou": lambda logits, masks: binary_cross_entropy_with_logits(logits, masks) + iou_loss(logits, _binary(masks)),
}
"""Functions of logits and masks, both (N, 1, H, W), that return a scalar.

Masks are 0 or 1, or means of several annotators' masks, from 0 to 1. The cross-entropy uses the means themselves. The
overlap losses binarize them at 0.5, since soft Dice and soft IoU are not minimal where the prediction equals the mean.
"""


def build_optimizer(network: Network, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Build the optimizer for all parameters in one group, or two if the encoder has a learning rate of its own."""
    encoder = set() if settings.encoder_learning_rate is None else set(network.encoder.parameters())
    others = [parameter for parameter in network.parameters() if parameter not in encoder]
    groups: list[dict[str, Any]] = [{"params": others, "lr": settings.learning_rate}]
    if encoder:
        ordered = [parameter for parameter in network.parameters() if parameter in encoder]
        groups.append({"params": ordered, "lr": settings.encoder_learning_rate})
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)
    return torch.optim.SGD(groups, momentum=settings.momentum, weight_decay=settings.weight_decay)


def build_schedule(optimizer: torch.optim.Optimizer, settings: TrainingSettings, steps: int) -> LRScheduler:
    """Build the schedule that `settings.schedule` names, for `steps` updates; step it once per update."""
    if settings.schedule == "one_cycle":
        return OneCycleLR(optimizer, [group["lr"] for group in optimizer.param_groups], total_steps=steps)
    # This is SGD(decay=...) of Keras, which lowers the learning rate with each update; it is not a weight decay.
    return LambdaLR(optimizer, lambda update: 1 / (1 + settings.learning_rate_decay * update))


class AveragedNetwork:
    """Exponential moving average of a network's weights and running statistics.

    The decay of update t is min(decay, (1 + t) / (10 + t)), so that short trainings do not keep their initial weights.
    torch.optim.swa_utils.AveragedModel does the same, but copies a counter to the device at each update, for which the
    host would wait.

    Args:
        network: The network to follow. It must already be on its device, since its tensors are listed once.
        decay: Weight of the former average, 0 to 1.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay, self.updates = decay, 0
        # Integer buffers stay as they are: constants, or counters that batch norms with a fixed momentum never read.
        self._averaged, self._current = (
            [tensor for tensor in (*each.parameters(), *each.buffers()) if tensor.is_floating_point()]
            for each in (self.network, network)
        )

    @torch.no_grad()
    def update(self) -> None:
        """Move the average one step towards the network."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(self._averaged, self._current, 1 - decay)
