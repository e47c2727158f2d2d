"""Catalog datasets that write a single file atomically, and the bases of all dataset types.

If a save fails, the existing file is unchanged.
"""

import base64
import inspect
import pickle
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
from kedro.io import AbstractDataset, DataCatalog, DatasetError
from kedro_datasets._typing import HTMLPreview, ImagePreview
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset

from lesion_segmentation.core.atomic_files import atomic_write
from lesion_segmentation.core.errors import InputError, first_line

Metadata = dict[str, Any] | None
"""Metadata of a catalog entry, for kedro-viz and for the hooks that log to MLflow."""

DAMAGED = (ValueError, OSError, EOFError, KeyError, SyntaxError, RuntimeError, OverflowError,
           zipfile.BadZipFile, zlib.error, pickle.UnpicklingError)  # fmt: skip
"""Exceptions that readers raise for damaged files."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn the exceptions of a file reader into an InputError with a remedy."""
    remedy = f"Create it again: rm -f {path} && kedro run --only-missing-outputs (with the --env of that run)"
    if not path.is_file():
        raise InputError(f"{path} is missing. {remedy}")
    try:
        yield
    except MemoryError as error:
        raise InputError(f"{path} needs more memory than is available. Free some memory.") from error
    except (*DAMAGED, DatasetError) as error:
        found = error.__cause__ if isinstance(error, DatasetError) else error  # Kedro wraps the exceptions of readers
        if isinstance(found, InputError) or not isinstance(found, DAMAGED):
            raise
        cause = first_line(found)
        raise InputError(f"{path} is empty or damaged ({cause}). {remedy}") from found


def file_of(catalog: DataCatalog, name: str) -> Path | None:
    """Return the path of a dataset's file, or None if the dataset is not stored in a file."""
    filepath = getattr(catalog.get(name), "_filepath", None)
    return Path(str(filepath)) if filepath else None


class RecordedArguments:
    """Mixin for inherited constructors: Kedro's wrapper of its own wrapper would not record the arguments by name."""

    def __init_subclass__(cls, **options: Any) -> None:
        cls.__init__ = inspect.unwrap(cls.__init__)  # type: ignore[method-assign]
        super().__init_subclass__(**options)


class ReadOnlyDataset(RecordedArguments, AbstractDataset[NoReturn, Any]):
    """Base class of datasets whose content comes from outside the pipelines. Subclasses implement `load`."""

    _init_args: dict[str, Any]

    def __init__(self, metadata: Metadata = None) -> None:
        self.metadata = metadata

    def save(self, data: NoReturn) -> NoReturn:
        raise DatasetError(f"{type(self).__name__} is read-only. Give the output of the node another name.")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {name: value for name, value in self._init_args.items() if name != "metadata"}


class AtomicFile(RecordedArguments, AbstractDataset[Any, Any]):
    """Base class of datasets that store a single file."""

    def __init__(self, filepath: str, metadata: Metadata = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


TEXTS = ("case_id", "sample_id", "annotation_style", "split_hash", "data_hash", "mask_hash", "image_sha256",
         "mask_sha256")  # fmt: skip
"""Columns that are read as text: an id may be 001, NA or 1e5, and a digest may consist of digits."""


class Table(RecordedArguments, CSVDataset):
    """pandas.CSVDataset without an index column, which reads ids and digests as text."""

    DEFAULT_SAVE_ARGS = {"index": False}

    def load(self) -> pd.DataFrame:
        with readable(Path(self._filepath)):
            table: pd.DataFrame = super().load()
            texts = pd.read_csv(self._filepath, usecols=lambda name: name in TEXTS, dtype=str, keep_default_na=False)
        return table.assign(**texts)

    def save(self, data: Any) -> None:
        with atomic_write(Path(self._filepath)) as path:
            CSVDataset(filepath=str(path), save_args=self._save_args).save(data)


class Record(RecordedArguments, JSONDataset):
    """json.JSONDataset with indentation."""

    DEFAULT_SAVE_ARGS = {"indent": 2}

    def load(self) -> Any:
        with readable(Path(self._filepath)):
            return super().load()

    def save(self, data: Any) -> None:
        with atomic_write(Path(self._filepath)) as path:
            JSONDataset(filepath=str(path), save_args=self._save_args).save(data)


class OptionalFile(AtomicFile):
    """Bytes in a file, which is empty if a run produces none."""

    def load(self) -> bytes:
        with readable(self._filepath):
            return self._filepath.read_bytes()

    def save(self, data: bytes) -> None:
        with atomic_write(self._filepath) as path:
            path.write_bytes(data)


class Text(AtomicFile):
    """Text in UTF-8."""

    def preview(self) -> HTMLPreview:
        """Return Markdown rendered as HTML, or an HTML page without its scripts and styles."""
        from markdown_it import MarkdownIt

        text = self.load()
        if self._filepath.suffix == ".md":
            return HTMLPreview(MarkdownIt().enable("table").render(text))
        return HTMLPreview(re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.DOTALL))

    def load(self) -> str:
        with readable(self._filepath):
            return self._filepath.read_text(encoding="utf-8")

    def save(self, data: str) -> None:
        with atomic_write(self._filepath) as path:
            path.write_text(data, encoding="utf-8")


class Figure(AtomicFile):
    """A figure of matplotlib. The type in kedro-datasets would import pyplot, which takes half a second."""

    def load(self) -> NoReturn:
        raise DatasetError(f"Loading not supported for '{type(self).__name__}'")

    def save(self, data: Any) -> None:
        with atomic_write(self._filepath) as path:
            data.savefig(path)

    def preview(self) -> ImagePreview:
        return ImagePreview(base64.b64encode(self._filepath.read_bytes()).decode())
