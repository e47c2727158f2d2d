"""Optimizers and learning rate schedules by name."""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from lesion_segmentation.model import Network
from lesion_segmentation.training.settings import TrainingSettings

Groups = list[dict[str, Any]]

_OPTIMIZERS: dict[str, Callable[[Groups, TrainingSettings], torch.optim.Optimizer]] = {
    "sgd": lambda groups, s: torch.optim.SGD(groups, momentum=s.momentum, weight_decay=s.weight_decay),
    "adamw": lambda groups, s: torch.optim.AdamW(groups, weight_decay=s.weight_decay, fused=True),
}

_SCHEDULES: dict[str, Callable[[torch.optim.Optimizer, TrainingSettings, int], LRScheduler]] = {
    # This is SGD(decay=...) of Keras, which lowers the learning rate with each update; it is not a weight decay.
    "inverse_time": lambda optimizer, s, steps: LambdaLR(
        optimizer, lambda update: 1 / (1 + s.learning_rate_decay * update)
    ),
    "one_cycle": lambda optimizer, s, steps: OneCycleLR(
        optimizer, [group["lr"] for group in optimizer.param_groups], total_steps=steps
    ),
}


def build_optimizer(network: Network, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Build the optimizer that `settings.optimizer` names, for all parameters of the network.

    They form one parameter group. If the encoder has a learning rate of its own, it is a second group.
    """
    encoder = set() if settings.encoder_learning_rate is None else set(network.encoder.parameters())
    others = [parameter for parameter in network.parameters() if parameter not in encoder]
    groups: Groups = [{"params": others, "lr": settings.learning_rate}]
    if encoder:
        ordered = [parameter for parameter in network.parameters() if parameter in encoder]
        groups.append({"params": ordered, "lr": settings.encoder_learning_rate})
    return _OPTIMIZERS[settings.optimizer](groups, settings)


def build_schedule(optimizer: torch.optim.Optimizer, settings: TrainingSettings, steps: int) -> LRScheduler:
    """Build the schedule that `settings.schedule` names, for `steps` updates; step it once per update."""
    return _SCHEDULES[settings.schedule](optimizer, settings, steps)
