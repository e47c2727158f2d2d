"""RandomParameters cases in the catalog."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from kedro.io import AbstractDataset
from PIL import Image


class SyntheticCases(AbstractDataset[Any, Any]):
    """RandomParameters cases in the place of PH2's files: the same keys and types, so that no node knows the difference.

    Args:
        part: `images` or `masks` load as a mapping from case_id to a function that gives the picture;
            `annotations` as the text of an annotation table.
        cases: How many.
        seed: Of the drawing.
    """

    def __init__(
        self,
        part: Literal["images", "masks", "annotations"],
        cases: int,
        seed: int = 0,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._part, self._cases, self._seed = part, cases, seed
        self.metadata = metadata

    def load(self) -> dict[str, Callable[[], Image.Image]] | str:
        """Draw; pictures only when they are asked for."""
        from lesion_segmentation.data.sources import synthetic

        if self._part == "annotations":
            return synthetic.annotations_text(self._cases, self._seed)
        numbers = enumerate(synthetic.case_ids(self._cases), start=1)
        return {case_id: partial(self._picture, number) for number, case_id in numbers}

    def _picture(self, number: int) -> Image.Image:
        from lesion_segmentation.data.sources import synthetic

        case = synthetic.synthesize_case(number, self._seed)
        return Image.fromarray(case.image if self._part == "images" else case.mask)

    def save(self, data: Any) -> None:
        """Not possible: the cases are drawn."""
        raise NotImplementedError("synthetic cases are drawn, not saved")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"part": self._part, "cases": self._cases, "seed": self._seed}
