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


_observer: ContextVar[Callable[[EpochRow], None]] = ContextVar("observer", default=ignore)


@contextmanager
def observe_epochs(observer: Callable[[EpochRow], None]) -> Iterator[None]:
    """Report each epoch of the runs that start in this context to the observer, which may raise StopTraining."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


def find_observer() -> Callable[[EpochRow], None]:
    """Return the observer of the current context. By default, it does nothing."""
    return _observer.get()


@dataclass(frozen=True)
class Callbacks:
    """Functions that a training calls, and the provenance of the run that it belongs to.

    Attributes:
        on_epoch: Called with the row of each epoch when it ends. If a training resumes, it is first called with the
            rows of all epochs in the checkpoint.
        on_resume: Called with the id of the MLflow run that wrote the checkpoint from which the training resumes. The
            id is empty if it is unknown.
        run_id: Id of the training's own MLflow run.
        commit: Git commit of the code.
    """

    on_epoch: Callable[[EpochRow], None] = ignore
    on_resume: Callable[[str], None] = ignore
    run_id: str = ""
    commit: str = ""
