"""What a run writes holds pictures of patients, so git must not see it, wherever in the project it stands."""

from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from lesion_project.datasets.file_paths import file_of


class GitignoreHooks:
    """Has git ignore the folders that a run writes to, where they stand in the project, but not in its data folder."""

    @hook_impl(trylast=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Once nothing was refused, and before anything is written. A .gitignore that stands there is left as it is."""
        project = Path(run_params["project_path"]).resolve()
        files = [file_of(catalog, name) for name in pipeline.all_outputs()]
        for folder in {path.resolve().parent for path in files if path is not None}:
            if folder.is_relative_to(project) and not folder.is_relative_to(project / "data"):
                folder.mkdir(parents=True, exist_ok=True)
                _write_once(folder / ".gitignore")


def _write_once(path: Path) -> None:
    if not path.exists():
        path.write_text("# Pictures of patients, and what was made of them.\n*\n")
