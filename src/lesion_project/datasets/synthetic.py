"""Synthetic cases in the catalog."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from PIL import Image

from lesion_project.datasets.read_only import ReadOnlyDataset


class SyntheticCases(ReadOnlyDataset):
    """Synthetic cases instead of PH2, with the same keys and types, so that the nodes are the same for both.

    Args:
        part: `images` and `masks` load as a mapping from case_id to a function that returns the image, `annotations`
            as the text of an annotation table.
        cases: Number of cases.
        seed: Seed of the random images.
    """

    def __init__(
        self,
        part: Literal["images", "masks", "annotations"],
        cases: int,
        seed: int = 0,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(metadata)
        self._part, self._cases, self._seed = part, cases, seed

    def load(self) -> dict[str, Callable[[], Image.Image]] | str:
        """Return the part; each image is synthesized only when its function is called."""
        from lesion_segmentation.data.sources import synthetic

        if self._part == "annotations":
            return synthetic.annotations_text(self._cases, self._seed)
        numbers = enumerate(synthetic.case_ids(self._cases), start=1)
        return {case_id: partial(self._synthesize, number) for number, case_id in numbers}

    def _synthesize(self, number: int) -> Image.Image:
        from lesion_segmentation.data.sources import synthetic

        case = synthetic.synthesize_case(number, self._seed)
        return Image.fromarray(case.image if self._part == "images" else case.mask)
