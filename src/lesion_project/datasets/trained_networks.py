"""Trained networks from files and MLflow in the catalog."""

import tempfile
from collections.abc import Callable
from typing import Any

from lesion_project.datasets.read_only import ReadOnlyDataset
from lesion_project.mlflow_files import download_network
from lesion_segmentation.core.atomic_files import expand_home


class TrainedNetworks(ReadOnlyDataset):
    """Function that loads a trained network: see `find_network`."""

    def load(self) -> Callable[[str], Any]:
        return find_network


def find_network(name: str) -> Any:
    """Load a network by the path of its weights file, the id of the MLflow run that logged it, or models:/name@alias.

    Raises:
        InputError: There is no such network.
    """
    from lesion_segmentation.model import load_network

    path = expand_home(name)
    if not name.startswith("models:/") and (path.is_file() or path.suffix):
        return load_network(path)
    with tempfile.TemporaryDirectory() as folder:
        return load_network(download_network(name, folder))
