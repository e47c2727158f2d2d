"""What an earlier run left in MLflow, in the catalog."""

import tempfile
from collections.abc import Mapping
from typing import Any, NoReturn

from kedro.io import AbstractDataset

from lesion_segmentation.core.errors import InputError


class RunArtifact(AbstractDataset[NoReturn, Any]):
    """One artifact of an MLflow run, loaded as another dataset type loads its file.

    The store is the one that the project's runs go to.

    Args:
        runs: Role to the run's id, as the parameter `comparison` gives them; a role that is missing fails only when
            the artifact is asked for.
        role: Whose artifact it is: baseline or candidate.
        artifact: The file's name among the run's artifacts.
        dataset: Type of the dataset that loads a file, e.g. `lesion_project.datasets.Table`.
    """

    def __init__(
        self,
        runs: Mapping[str, str] | None,
        role: str,
        artifact: str,
        dataset: str,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._run, self._parameter = (runs or {}).get(role), f"comparison.{role}"
        self._artifact, self._dataset = artifact, dataset
        self.metadata = metadata

    def load(self) -> Any:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        if not self._run:
            raise InputError(f"Which run? Name it with --params {self._parameter}=<MLflow run id>")
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = MlflowClient().download_artifacts(self._run, self._artifact, folder)
            except (MlflowException, OSError) as error:
                raise InputError(
                    f"{self._parameter} is {self._run}, but MLflow has no {self._artifact} of it. Expected the id "
                    "of a run that scored cases (the page of the run shows it)."
                ) from error
            loaded = AbstractDataset.from_config(self._artifact, {"type": self._dataset, "filepath": path}).load()
            return dict(loaded) if isinstance(loaded, Mapping) else loaded  # all of it, before the folder goes

    def save(self, data: NoReturn) -> NoReturn:
        """Not possible: it is another run's."""
        raise NotImplementedError("an artifact of another run is read, not written")

    def _exists(self) -> bool:
        return self._run is not None

    def _describe(self) -> dict[str, Any]:
        return {"run": self._run, "artifact": self._artifact}
