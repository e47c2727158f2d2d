"""A user's own images, masks and table in the catalog."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from PIL import Image

from lesion_project.datasets.read_only import ReadOnlyDataset
from lesion_segmentation.core.atomic_files import expand_home
from lesion_segmentation.core.errors import InputError


class OwnCases(ReadOnlyDataset):
    """A user's own images, masks or table instead of those of PH2.

    Args:
        part: `images` and `masks` load as a mapping from case_id to a function that reads the image, `table` as a
            table with one row per case.
        images, masks: Folders, which are searched at any depth.
        table: An optional .csv file.
        leave_out: Name of a list of cases in this package, such as isic2018_reserved, that are left out.
    """

    def __init__(
        self,
        part: Literal["images", "masks", "table"],
        images: str | None = None,
        masks: str | None = None,
        table: str | None = None,
        leave_out: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(metadata)
        self._part: Literal["images", "masks", "table"] = part
        self._folders = {"images": images, "masks": masks}
        self._table, self._leave_out = table, leave_out

    def load(self) -> dict[str, Callable[[], Image.Image]] | pd.DataFrame:
        """Return the part; each image is read only when its function is called.

        Raises:
            InputError: A folder is not given or does not exist, or two files have the same case_id.
        """
        from lesion_segmentation.data.sources.folder import open_image, read_table

        if self._part == "table":
            return read_table(expand_home(self._table) if self._table else None, self._find_files("images"))
        return {case_id: partial(open_image, path) for case_id, path in self._find_files(self._part).items()}

    def _find_files(self, part: Literal["images", "masks"]) -> dict[str, Path]:
        from lesion_segmentation.data.sources.folder import find_images
        from lesion_segmentation.data.sources.isic2018 import read_list

        folder = self._folders[part]
        if not folder:
            raise InputError(f"No folder of {part} is given. Use --params data.images=<folder>,data.masks=<folder>.")
        left_out = set(read_list(self._leave_out)) if self._leave_out else set()
        found = find_images(expand_home(folder), masks=part == "masks")
        return {case_id: path for case_id, path in found.items() if case_id not in left_out}
