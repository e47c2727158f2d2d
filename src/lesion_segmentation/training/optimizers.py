"""Optimizers and learning rate schedules by name."""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR

from lesion_segmentation.model import Network
from lesion_segmentation.training.settings import TrainingSettings

Groups = list[dict[str, Any]]

_OPTIMISERS: dict[str, Callable[[Groups, TrainingSettings], torch.optim.Optimizer]] = {
    "sgd": lambda groups, s: torch.optim.SGD(groups, momentum=s.momentum, weight_decay=s.weight_decay),
    "adamw": lambda groups, s: torch.optim.AdamW(groups, weight_decay=s.weight_decay, fused=True),
}

_SCHEDULES: dict[str, Callable[[torch.optim.Optimizer, TrainingSettings, int], LRScheduler]] = {
    # Keras' SGD(decay=...): the rate falls with the updates; it is no weight decay.
    "inverse_time": lambda optimizer, s, steps: LambdaLR(
        optimizer, lambda update: 1 / (1 + s.learning_rate_decay * update)
    ),
    "one_cycle": lambda optimizer, s, steps: OneCycleLR(
        optimizer, [group["lr"] for group in optimizer.param_groups], total_steps=steps
    ),
    "cosine": lambda optimizer, s, steps: CosineAnnealingLR(optimizer, T_max=steps),
}


def build_optimizer(network: Network, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimizer that `settings.optimizer` names, over all parameters of the network.

    They are one group, the first; where the encoder has a learning rate of its own, it is the second one.
    """
    encoder = set() if settings.encoder_learning_rate is None else set(network.encoder.parameters())
    others = [parameter for parameter in network.parameters() if parameter not in encoder]
    groups: Groups = [{"params": others, "lr": settings.learning_rate}]
    if encoder:
        of_encoder = [parameter for parameter in network.parameters() if parameter in encoder]
        groups.append({"params": of_encoder, "lr": settings.encoder_learning_rate})
    return _OPTIMISERS[settings.optimizer](groups, settings)


def build_schedule(optimizer: torch.optim.Optimizer, settings: TrainingSettings, steps: int) -> LRScheduler:
    """The schedule that `settings.schedule` names, to be stepped once an update, `steps` times in all."""
    return _SCHEDULES[settings.schedule](optimizer, settings, steps)
