"""The seam between a training and whoever watches it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

Row = Mapping[str, float]
"""One epoch: epoch, learning_rate, train_* and, with validation cases, validation_*; and seconds."""


def ignore(_: object) -> None:
    """Do nothing."""


class StopTraining(Exception):
    """Raised by whoever watches a training, which then ends without a network."""


_watcher: ContextVar[Callable[[Row], None]] = ContextVar("watcher", default=ignore)


@contextmanager
def watched_by(tell: Callable[[Row], None]) -> Iterator[None]:
    """Trainings of runs that begin in here tell of each epoch, and may be stopped by a StopTraining."""
    token = _watcher.set(tell)
    try:
        yield
    finally:
        _watcher.reset(token)


def find_watcher() -> Callable[[Row], None]:
    """Who is to be told of the epochs of a run that begins now."""
    return _watcher.get()


@dataclass(frozen=True)
class Callbacks:
    """Who is told of each epoch as it ends and of the run that a training goes on from; its own run's id and commit."""

    on_epoch: Callable[[Row], None] = ignore
    on_resume: Callable[[str], None] = ignore
    run_id: str = ""
    commit: str = ""
