"""Where a data set stands."""

from pathlib import Path

from kedro.io import DataCatalog


def file_of(catalog: DataCatalog, name: str) -> Path | None:
    """The file of a data set, where it has one."""
    filepath = getattr(catalog.get(name), "_filepath", None)
    return Path(str(filepath)) if filepath else None
