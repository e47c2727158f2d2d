"""Kedro hooks: checks before a run, protection of its outputs, progress and closing words."""

from functools import cache
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl


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
    from lesion_project.hooks.outputs import OutputHooks
    from lesion_project.hooks.progress import ProgressHooks
    from lesion_project.hooks.summary import SummaryHooks
    from lesion_project.tracking.hooks import TrackingHooks

    tracking = TrackingHooks()
    return tracking, SummaryHooks(tracking), ProgressHooks(), InputHooks(), OutputHooks()
