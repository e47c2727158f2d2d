"""Protection of output folders: one run at a time per data root, and no images of patients in git."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from lesion_project.datasets.atomic import file_of
from lesion_segmentation.core.atomic_files import lock_file_of
from lesion_segmentation.core.errors import InputError


class OutputHooks:
    """Holds a file lock for the data root during a run, because two runs would mix their files.

    The operating system releases the lock if the process is killed.
    """

    def __init__(self) -> None:
        self._lock: FileLock | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        self._root = (Path(context.project_path) / context.config_loader["parameters"]["data_root"]).resolve()

    @hook_impl(wrapper=True, tryfirst=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> Generator[None, Any, Any]:
        """Refuse a run while another one uses the same data root. Release the lock if another check refuses the run."""
        self._acquire()
        try:
            result = yield
            files = [file_of(catalog, name) for name in pipeline.all_outputs()]
            folders = {path.resolve().parent for path in files if path is not None}
            _ignore_in_git(folders, Path(run_params["project_path"]).resolve())
            return result
        except BaseException:
            self._release()
            raise

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        self._release()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        self._release()

    def _acquire(self) -> None:
        self._release()  # an earlier run of this process may have been interrupted, for example in a notebook
        lock = FileLock(lock_file_of(self._root))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"Another run is writing to {self._root}. Wait for it to finish, or use another data root: "
                "--params data_root=<folder>"
            ) from None
        self._lock = lock

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
        self._lock = None


def _ignore_in_git(folders: set[Path], project: Path) -> None:
    """Write missing .gitignore files to folders inside the project. The folder `data` has its own."""
    for folder in folders:
        if folder.is_relative_to(project) and not folder.is_relative_to(project / "data"):
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / ".gitignore").exists():
                (folder / ".gitignore").write_text("# Images of patients, and files derived from them.\n*\n")
