"""Cases of several sources as one dataset in the catalog."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset
from PIL import Image

from lesion_project.datasets.read_only import ReadOnlyDataset
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.annotations import parse_annotations


class JoinedCases(ReadOnlyDataset):
    """Images, masks or annotations of several sources.

    Args:
        sources: Maps the name of each source to the configuration of its dataset, which loads as a mapping from
            case_id, as a table, or as the text of an annotation table.

    Example:
        ph2_images:
          type: lesion_project.datasets.JoinedCases
          sources:
            PH2: {type: partitions.PartitionedDataset, path: ...}
            ISIC 2018: {type: lesion_project.datasets.OwnCases, part: images, images: ...}
    """

    def __init__(self, sources: Mapping[str, dict[str, Any]], metadata: dict[str, Any] | None = None) -> None:
        super().__init__(metadata)
        self._sources = {name: AbstractDataset.from_config(name, config) for name, config in sources.items()}

    def load(self) -> dict[str, Callable[[], Image.Image]] | pd.DataFrame:
        """Join mappings to one mapping, and tables to one table with the column `source`.

        A case without a group becomes a group of its own.

        Raises:
            InputError: Two sources have the same case_id.
        """
        parts = {name: dataset.load() for name, dataset in self._sources.items()}
        if all(isinstance(part, Mapping) for part in parts.values()):
            _require_unique_ids(parts)
            return {case_id: read for part in parts.values() for case_id, read in part.items()}
        tables = [_to_table(part).assign(source=name) for name, part in parts.items()]
        return pd.concat(tables, ignore_index=True).fillna("")

    def _exists(self) -> bool:
        return all(dataset.exists() for dataset in self._sources.values())


def _to_table(part: str | pd.DataFrame) -> pd.DataFrame:
    table = parse_annotations(part) if isinstance(part, str) else part
    return table if "group" in table else table.assign(group=table["case_id"])


def _require_unique_ids(parts: Mapping[str, Mapping[str, Any]]) -> None:
    source_of: dict[str, str] = {}
    for name, part in parts.items():
        shared = sorted(part.keys() & source_of.keys())
        if shared:
            raise InputError(
                f"{len(shared)} case ids occur in {source_of[shared[0]]} and in {name}, such as {shared[0]}. "
                "Rename the files of one source."
            )
        source_of |= dict.fromkeys(part, name)
