"""One run at a time in a data root: two would mix their files."""

import hashlib
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl

from lesion_segmentation.core.errors import InputError


class RunLockHooks:
    """Holds a lock on the data root while a run lasts; a killed process lets go of it by itself."""

    def __init__(self) -> None:
        self._root = Path()
        self._lock: FileLock | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        self._root = (Path(context.project_path) / context.config_loader["parameters"]["data_root"]).resolve()

    @hook_impl(wrapper=True, tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any]) -> Generator[None, Any, Any]:
        """Refuse to begin while another process writes to the same place; let go where anything else is refused."""
        self._acquire()
        try:
            return (yield)
        except BaseException:
            self._release()
            raise

    def _acquire(self) -> None:
        self._release()  # of a run in this process that was interrupted, in a notebook say
        lock = FileLock(lock_file_of(self._root))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"Another run is writing to {self._root} just now. Wait for it, or give this one a place of its own: "
                "--params data_root=<folder>"
            ) from None
        self._lock = lock

    @hook_impl(trylast=True)
    def after_pipeline_run(self, run_params: dict[str, Any]) -> None:
        self._release()

    @hook_impl(trylast=True)
    def on_pipeline_error(self, error: Exception) -> None:
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
        self._lock = None


def lock_file_of(root: Path) -> Path:
    """Beside no data: in the folder for temporary files, by the root's place."""
    digest = hashlib.sha256(str(root).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"lesion-segmentation-{digest}.lock"
