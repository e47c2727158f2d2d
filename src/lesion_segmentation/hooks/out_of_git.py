"""What a run writes holds pictures of patients, so git must not see it, wherever in the project it stands."""

from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl


class OutOfGitHooks:
    """Has git ignore a data root that stands in the project, but not in its data folder, which is ignored already."""

    def __init__(self) -> None:
        self._project, self._root = Path(), Path()

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        self._project = Path(context.project_path).resolve()
        self._root = (self._project / context.config_loader["parameters"]["data_root"]).resolve()

    @hook_impl(trylast=True)
    def before_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Once nothing was refused, and before anything is written."""
        inside = self._root.is_relative_to(self._project) and self._root != self._project
        if inside and not self._root.is_relative_to(self._project / "data"):
            self._root.mkdir(parents=True, exist_ok=True)
            (self._root / ".gitignore").write_text("# Pictures of patients, and what was made of them.\n*\n")
