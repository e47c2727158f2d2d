"""Exclusion of output folders from git, because they contain images of patients."""

from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from lesion_project.datasets.atomic import file_of


class GitignoreHooks:
    """Writes a .gitignore to each output folder inside the project. The folder `data` has its own."""

    @hook_impl(trylast=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Write missing .gitignore files after all checks have passed. Existing ones stay unchanged."""
        project = Path(run_params["project_path"]).resolve()
        files = [file_of(catalog, name) for name in pipeline.all_outputs()]
        for folder in {path.resolve().parent for path in files if path is not None}:
            if folder.is_relative_to(project) and not folder.is_relative_to(project / "data"):
                folder.mkdir(parents=True, exist_ok=True)
                if not (folder / ".gitignore").exists():
                    (folder / ".gitignore").write_text("# Images of patients, and files derived from them.\n*\n")
