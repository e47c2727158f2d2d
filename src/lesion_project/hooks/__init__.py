"""Kedro hooks: checks before a run, protection of its outputs, progress and closing words."""

import logging
import sys
from functools import cache
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl

from lesion_segmentation.core.errors import InputError, RecipeError


class LazyHooks:
    """Imports and registers all other hooks with the context, so that `kedro --help` starts fast.

    All sessions of a process share them.
    """

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Register the others and call them, because pluggy has already collected the hooks for this call."""
        for hooks in _hooks():
            if context._hook_manager.is_registered(hooks):  # a second context of the session calls them itself
                continue
            context._hook_manager.register(hooks)
            if hasattr(hooks, "after_context_created"):
                hooks.after_context_created(context)


@cache
def _hooks() -> tuple[Any, ...]:
    from lesion_project.hooks.checks import InputHooks
    from lesion_project.hooks.memory import MemoryHooks
    from lesion_project.hooks.outputs import OutputHooks
    from lesion_project.hooks.progress import ProgressHooks
    from lesion_project.hooks.summary import SummaryHooks
    from lesion_project.tracking.hooks import TrackingHooks

    for name in ("kedro.pipeline.node", "kedro.runner.sequential_runner", "kedro.runner.thread_runner"):
        logging.getLogger(name).addFilter(_is_needed)
    tracking = TrackingHooks()
    return tracking, SummaryHooks(tracking), ProgressHooks(), InputHooks(), OutputHooks(), MemoryHooks()


def _is_needed(record: logging.LogRecord) -> bool:
    """Hide Kedro's log line of an InputError, which the command prints, and its advice after a training that failed."""
    return not isinstance(sys.exc_info()[1], InputError if record.levelno >= logging.ERROR else RecipeError)
