"""The seam between a training and whoever watches it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Row = Mapping[str, float]
"""One epoch: epoch, learning_rate, train_* and, with validation cases, validation_*; and seconds."""


def ignore_epoch(row: Row) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Listener:
    """Who is told of each epoch as it ends, and the id of the run that the weights shall name as their maker."""

    on_epoch: Callable[[Row], None] = ignore_epoch
    run_id: str = ""
