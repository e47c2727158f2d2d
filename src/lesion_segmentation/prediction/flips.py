"""Test-time augmentation: the views of a picture over which a prediction is averaged."""

from typing import NamedTuple

from torch import Tensor

from lesion_segmentation.prediction.settings import TestTimeAugmentation


class View(NamedTuple):
    """Dimensions of (N, C, H, W) that are reversed, and whether height and width then change places."""

    mirrored: tuple[int, ...] = ()
    transposed: bool = False

    def show(self, pictures: Tensor) -> Tensor:
        """(N, C, H, W) seen so."""
        mirrored = pictures.flip(self.mirrored)
        return mirrored.transpose(-1, -2) if self.transposed else mirrored

    def undo(self, maps: Tensor) -> Tensor:
        """What was predicted for the view, back in the place of the picture."""
        upright = maps.transpose(-1, -2) if self.transposed else maps
        return upright.flip(self.mirrored)


_MIRRORED = tuple(View(dims) for dims in ((), (-1,), (-2,), (-1, -2)))

VIEWS: dict[TestTimeAugmentation, tuple[View, ...]] = {
    "none": _MIRRORED[:1],
    "four": _MIRRORED,
    "eight": (*_MIRRORED, *(View(view.mirrored, transposed=True) for view in _MIRRORED)),
}
