"""The seam between a training and whoever watches it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Row = Mapping[str, float]
"""One epoch: epoch, learning_rate, train_* and, with validation cases, validation_*; and seconds."""


def ignore(_: object) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Listener:
    """Who is told of each epoch as it ends and of the run that a training goes on from; its own run's id and commit."""

    on_epoch: Callable[[Row], None] = ignore
    on_resume: Callable[[str], None] = ignore
    run_id: str = ""
    commit: str = ""
