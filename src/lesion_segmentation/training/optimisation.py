"""Optimisers and learning rate schedules by name."""

from collections.abc import Callable

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR

from lesion_segmentation.training.settings import TrainingSettings

_OPTIMISERS: dict[str, Callable[[nn.Module, TrainingSettings], torch.optim.Optimizer]] = {
    "sgd": lambda network, s: torch.optim.SGD(
        network.parameters(), lr=s.learning_rate, momentum=s.momentum, weight_decay=s.weight_decay
    ),
    "adamw": lambda network, s: torch.optim.AdamW(
        network.parameters(), lr=s.learning_rate, weight_decay=s.weight_decay, fused=True
    ),
}

_SCHEDULES: dict[str, Callable[[torch.optim.Optimizer, TrainingSettings, int], LRScheduler]] = {
    # Keras' SGD(decay=...): the rate falls with the updates; it is no weight decay.
    "inverse_time": lambda optimiser, s, steps: LambdaLR(
        optimiser, lambda update: 1 / (1 + s.learning_rate_decay * update)
    ),
    "one_cycle": lambda optimiser, s, steps: OneCycleLR(optimiser, s.learning_rate, total_steps=steps),
    "cosine": lambda optimiser, s, steps: CosineAnnealingLR(optimiser, T_max=steps),
}


def build_optimiser(network: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimiser that `settings.optimiser` names, over all parameters of the network."""
    return _OPTIMISERS[settings.optimiser](network, settings)


def build_schedule(optimiser: torch.optim.Optimizer, settings: TrainingSettings, steps: int) -> LRScheduler:
    """The schedule that `settings.schedule` names, to be stepped once an update, `steps` times in all."""
    return _SCHEDULES[settings.schedule](optimiser, settings, steps)
