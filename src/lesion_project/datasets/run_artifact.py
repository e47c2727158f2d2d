"""Artifacts of earlier MLflow runs in the catalog."""

import tempfile
from collections.abc import Mapping
from typing import Any

from kedro.io import AbstractDataset

from lesion_project.datasets.read_only import ReadOnlyDataset
from lesion_project.mlflow_files import download_run_file
from lesion_segmentation.core.errors import InputError


class RunArtifact(ReadOnlyDataset):
    """Artifact of an MLflow run, from the store to which the project logs, loaded by another dataset type.

    Args:
        runs: Maps roles to run ids, as the parameter `comparison` gives them. A missing role fails only on loading.
        role: baseline or candidate.
        artifact: Name of the file among the artifacts of the run.
        dataset: Dataset type that loads the file, such as `lesion_project.datasets.Table`.
    """

    def __init__(
        self,
        runs: Mapping[str, str] | None,
        role: str,
        artifact: str,
        dataset: str,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(metadata)
        self._run, self._parameter = (runs or {}).get(role), f"comparison.{role}"
        self._artifact, self._dataset = artifact, dataset

    def load(self) -> Any:
        """Download the artifact and return its content.

        Raises:
            InputError: The run is not given, or it has no such artifact.
        """
        if not self._run:
            raise InputError(f"{self._parameter} is not given. Use --params {self._parameter}=<MLflow run id>.")
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = download_run_file(self._run, self._artifact, folder)
            except InputError as error:
                raise InputError(
                    f"{self._parameter}: {error} Expected the id of a run that scored cases; the run's page shows it."
                ) from error
            loaded = AbstractDataset.from_config(self._artifact, {"type": self._dataset, "filepath": str(path)}).load()
            return dict(loaded) if isinstance(loaded, Mapping) else loaded  # read before the folder is removed

    def _exists(self) -> bool:
        return self._run is not None
