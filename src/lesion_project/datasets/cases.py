"""Cases other than those of PH2 in the catalog: a user's own, synthetic ones, and those of several sources."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import pandas as pd
from kedro.io import AbstractDataset
from PIL import Image

from lesion_project.datasets.atomic import Metadata, ReadOnlyDataset
from lesion_segmentation.core.atomic_files import expand_home
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.annotations import parse_annotations

Images = dict[str, Any]
"""Maps each case_id to a function that reads or synthesizes the image or mask, or to one per annotator."""


class OwnCases(ReadOnlyDataset):
    """A user's own images, masks or table instead of those of PH2.

    Args:
        part: `images` and `masks` load as `Images`, `table` as a table with one row per case.
        images, masks: Folders, which are searched at any depth. The masks may also be a COCO file.
        table: An optional .csv file.
        ignore: Patterns of the names of files to skip, separated by blanks.
        leave_out: Name of a list of cases in this package, such as isic2018_reserved, that are left out.
        annotation_styles: Name of a table in this package, such as isic2018_tools, with the annotation style of masks.
    """

    def __init__(
        self,
        part: Literal["images", "masks", "table"],
        images: str | None = None,
        masks: str | None = None,
        table: str | None = None,
        ignore: str | None = None,
        leave_out: str | None = None,
        annotation_styles: str | None = None,
        metadata: Metadata = None,
    ) -> None:
        super().__init__(metadata)
        self._part: Literal["images", "masks", "table"] = part
        self._folders = {"images": images, "masks": masks}
        self._table, self._ignore, self._leave_out = table, ignore or "", leave_out
        self._annotation_styles = annotation_styles

    def load(self) -> Images | pd.DataFrame:
        from lesion_segmentation.data.sources.folder import read_table
        from lesion_segmentation.data.sources.isic2018 import read_packaged_table

        if self._part == "table":
            found = [] if self._table else self._find_files("images") | self._find_files("masks")
            table = read_table(expand_home(self._table) if self._table else None, found)
            if not self._annotation_styles or "annotation_style" in table:
                return table
            return table.merge(read_packaged_table(self._annotation_styles), on="case_id", how="left").fillna("")
        return self._find_files(self._part)

    def _find_files(self, part: Literal["images", "masks"]) -> Images:
        from lesion_segmentation.data.sources.folder import find_images, find_masks
        from lesion_segmentation.data.sources.isic2018 import read_list
        from lesion_segmentation.images.read import open_image

        folder = self._folders[part]
        if not folder:
            raise InputError(f"No folder of {part} is given. Use --params data.images=<folder>,data.masks=<folder>.")
        left_out = set(read_list(self._leave_out)) if self._leave_out else set()
        path = expand_home(folder)
        if part == "masks":
            found = find_masks(path, self._ignore)
        else:
            found = {
                case_id: partial(open_image, file) for case_id, file in find_images(path, ignore=self._ignore).items()
            }
        return {case_id: read for case_id, read in found.items() if case_id not in left_out}


class SyntheticCases(ReadOnlyDataset):
    """Synthetic cases instead of PH2, with the same keys and types, so that the nodes are the same for both.

    `images` and `masks` load as `Images`, `annotations` as the text of an annotation table.
    """

    def __init__(
        self, part: Literal["images", "masks", "annotations"], cases: int, seed: int = 0, metadata: Metadata = None
    ) -> None:
        super().__init__(metadata)
        self._part, self._cases, self._seed = part, cases, seed

    def load(self) -> Images | str:
        from lesion_segmentation.data.sources import synthetic

        if self._part == "annotations":
            return synthetic.annotations_text(self._cases, self._seed)
        numbers = enumerate(synthetic.case_ids(self._cases), start=1)
        return {case_id: partial(self._synthesize, number) for number, case_id in numbers}

    def _synthesize(self, number: int) -> Image.Image:
        from lesion_segmentation.data.sources import synthetic

        case = synthetic.synthesize_case(number, self._seed)
        return Image.fromarray(case.image if self._part == "images" else case.mask)


class JoinedCases(ReadOnlyDataset):
    """Images, masks or annotations of several sources.

    `sources` maps the name of each source to the configuration of its dataset, which loads as a mapping from case_id,
    as a table, or as the text of an annotation table. conf/isic_and_ph2/catalog.yml is an example.
    """

    def __init__(self, sources: Mapping[str, dict[str, Any]], metadata: Metadata = None) -> None:
        super().__init__(metadata)
        self._sources = {name: AbstractDataset.from_config(name, config) for name, config in sources.items()}

    def load(self) -> Images | pd.DataFrame:
        """Join mappings to one mapping, and tables to one table with the column `source`.

        A case without a group becomes a group of its own.
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
