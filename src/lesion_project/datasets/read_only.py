"""Base of the datasets that nodes load and never save."""

from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError


class ReadOnlyDataset(AbstractDataset[NoReturn, Any]):
    """Dataset whose content comes from outside the pipelines. Subclasses implement `load`."""

    _init_args: dict[str, Any]

    def __init__(self, metadata: dict[str, Any] | None = None) -> None:
        self.metadata = metadata

    def save(self, data: NoReturn) -> NoReturn:
        """Raise an error, since a node must not have this dataset as an output."""
        raise DatasetError(f"{type(self).__name__} is read-only. Give the output of the node another name.")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {name: value for name, value in self._init_args.items() if name != "metadata"}
