"""A user's own pictures in the catalog."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn

import pandas as pd
from kedro.io import AbstractDataset
from PIL import Image

from lesion_segmentation.core.atomic_files import expand_home
from lesion_segmentation.core.errors import InputError


class OwnCases(AbstractDataset[NoReturn, Any]):
    """Images, masks or the table of a user's own data, in the place of PH2's.

    Args:
        part: `images` or `masks` load as a mapping from case_id to a function that reads the picture; `table` as a
            table with a row a case.
        images, masks: Folders, at any depth.
        table: A .csv, if there is one.
        leave_out: A list of cases that comes with the package (isic2018_reserved): these are not there.
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
        self._part: Literal["images", "masks", "table"] = part
        self._places = {"images": images, "masks": masks, "table": table}
        self._leave_out = leave_out
        self.metadata = metadata

    def load(self) -> dict[str, Callable[[], Image.Image]] | pd.DataFrame:
        from lesion_segmentation.data.sources.folder import open_image, read_table

        if self._part == "table":
            table = self._places["table"]
            return read_table(expand_home(table) if table else None, self._find("images"))
        return {case_id: partial(open_image, path) for case_id, path in self._find(self._part).items()}

    def save(self, data: NoReturn) -> NoReturn:
        """Not possible: they are the user's."""
        raise NotImplementedError("a user's own data are read, not written")

    def _find(self, part: Literal["images", "masks"]) -> dict[str, Path]:
        from lesion_segmentation.data.sources.folder import find_images
        from lesion_segmentation.data.sources.isic2018 import read_list

        left_out = set(read_list(self._leave_out)) if self._leave_out else set()
        found = find_images(self._folder(part), masks=part == "masks")
        return {case_id: path for case_id, path in found.items() if case_id not in left_out}

    def _folder(self, part: str) -> Path:
        place = self._places[part]
        if not place:
            raise InputError(f"Where are the {part}? Name them with --params data.images=<folder>,data.masks=<folder>")
        return expand_home(place)

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"part": self._part, **self._places}
