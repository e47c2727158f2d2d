"""Catalog datasets of one file that is replaced as a whole."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets.json import JSONDataset
from kedro_datasets.matplotlib import MatplotlibDataset
from kedro_datasets.pandas import CSVDataset

from lesion_segmentation.files import replacing


class WholeFile(AbstractDataset[Any, Any]):
    """One file that is replaced as a whole."""

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class Table(CSVDataset):
    """pandas.CSVDataset, without an index, replaced as a whole."""

    DEFAULT_SAVE_ARGS = {"index": False}

    def save(self, data: Any) -> None:
        with replacing(Path(self._filepath)) as path:
            CSVDataset(filepath=str(path), save_args=self._save_args).save(data)


class Record(JSONDataset):
    """json.JSONDataset, indented, replaced as a whole."""

    DEFAULT_SAVE_ARGS = {"indent": 2}

    def save(self, data: Any) -> None:
        with replacing(Path(self._filepath)) as path:
            JSONDataset(filepath=str(path), save_args=self._save_args).save(data)


class Text(WholeFile):
    """A text, UTF-8."""

    def load(self) -> str:
        return self._filepath.read_text(encoding="utf-8")

    def save(self, data: str) -> None:
        with replacing(self._filepath) as path:
            path.write_text(data, encoding="utf-8")


class Figure(MatplotlibDataset):
    """matplotlib.MatplotlibDataset of one figure, replaced as a whole."""

    def save(self, data: Any) -> None:
        with replacing(Path(self._filepath)) as path:
            MatplotlibDataset(filepath=str(path), save_args=self._save_args).save(data)
