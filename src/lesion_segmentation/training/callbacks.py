"""The interface between a training and its observers."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

EpochRow = Mapping[str, float]
"""Row of the training history: epoch (from 1), learning_rate, train_*, seconds and, if there are validation samples,
validation_*."""


def ignore(_: object) -> None:
    """Do nothing."""


class StopTraining(Exception):
    """Exception by which an observer ends a training before it returns a network."""


epoch_observer: ContextVar[Callable[[EpochRow], None]] = ContextVar("epoch_observer", default=ignore)
"""The observer of the runs that start in the current context, which may raise StopTraining."""


@contextmanager
def observe_epochs(observer: Callable[[EpochRow], None]) -> Iterator[None]:
    """Report each epoch of the runs that start in this context to the observer, which may raise StopTraining."""
    token = epoch_observer.set(observer)
    try:
        yield
    finally:
        epoch_observer.reset(token)


@dataclass(frozen=True)
class Callbacks:
    """Functions that a training calls, and the provenance of the run that it belongs to.

    Attributes:
        on_epoch: Called with the row of each epoch when it ends; if a training resumes, first with the rows of all
            epochs in the checkpoint.
        on_resume: Called with the id of the MLflow run that wrote the checkpoint, empty if unknown.
        run_id: Id of the training's own MLflow run.
        commit: Git commit of the code.
    """

    on_epoch: Callable[[EpochRow], None] = ignore
    on_resume: Callable[[str], None] = ignore
    run_id: str = ""
    commit: str = ""
