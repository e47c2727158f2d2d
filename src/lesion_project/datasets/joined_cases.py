"""Cases of several sources as one data set in the catalog."""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import pandas as pd
from kedro.io import AbstractDataset
from PIL import Image

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.annotations import parse_annotations


class JoinedCases(AbstractDataset[NoReturn, Any]):
    """Images, masks or annotations of several sources.

    Args:
        sources: Name of the source to the dataset that loads its part, a mapping from case_id or a table.

    Example:
        ph2_images:
          type: lesion_project.datasets.JoinedCases
          sources:
            PH2: {type: partitions.PartitionedDataset, path: ...}
            ISIC 2018: {type: lesion_project.datasets.OwnCases, part: images, images: ...}
    """

    def __init__(self, sources: Mapping[str, dict[str, Any]], metadata: dict[str, Any] | None = None) -> None:
        self._sources = {name: AbstractDataset.from_config(name, config) for name, config in sources.items()}
        self.metadata = metadata

    def load(self) -> dict[str, Callable[[], Image.Image]] | pd.DataFrame:
        """Mappings as one mapping; tables as one table, with the column source and each case a group of its own.

        Raises:
            InputError: Two sources have cases of one id.
        """
        parts = {name: dataset.load() for name, dataset in self._sources.items()}
        if all(isinstance(part, Mapping) for part in parts.values()):
            _require_own_ids({name: set(part) for name, part in parts.items()})
            return {case_id: read for part in parts.values() for case_id, read in part.items()}
        tables = [_as_table(part).assign(source=name) for name, part in parts.items()]
        return pd.concat(tables, ignore_index=True).fillna("")

    def save(self, data: NoReturn) -> NoReturn:
        """Not possible: each source has its own place."""
        raise NotImplementedError("joined cases are read, not written")

    def _exists(self) -> bool:
        return all(dataset.exists() for dataset in self._sources.values())

    def _describe(self) -> dict[str, Any]:
        return {"sources": list(self._sources)}


def _as_table(part: str | pd.DataFrame) -> pd.DataFrame:
    table = parse_annotations(part) if isinstance(part, str) else part
    return table if "group" in table else table.assign(group=table["case_id"])


def _require_own_ids(ids: Mapping[str, set[str]]) -> None:
    seen: dict[str, str] = {}
    for name, own in ids.items():
        both = sorted(own & seen.keys())
        if both:
            raise InputError(
                f"{len(both)} cases stand in {seen[both[0]]} and in {name}, such as {both[0]}; expected other ids"
            )
        seen |= dict.fromkeys(own, name)
