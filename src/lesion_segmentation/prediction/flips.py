"""Test-time augmentation: the flips over which a prediction is averaged."""

from typing import NamedTuple

from torch import Tensor

from lesion_segmentation.prediction.settings import TestTimeAugmentation


class Flip(NamedTuple):
    """Dimensions of (N, C, H, W) that are reversed, and whether height and width are swapped afterwards."""

    reversed_dims: tuple[int, ...] = ()
    transposed: bool = False

    def apply(self, images: Tensor) -> Tensor:
        """Flip images (N, C, H, W)."""
        flipped = images.flip(self.reversed_dims)
        return flipped.transpose(-1, -2) if self.transposed else flipped

    def undo(self, maps: Tensor) -> Tensor:
        """Flip maps (N, C, H, W) that were predicted for flipped images back."""
        upright = maps.transpose(-1, -2) if self.transposed else maps
        return upright.flip(self.reversed_dims)


_MIRRORED = tuple(Flip(dims) for dims in ((), (-1,), (-2,), (-1, -2)))

FLIPS: dict[TestTimeAugmentation, tuple[Flip, ...]] = {
    "none": _MIRRORED[:1],
    "four": _MIRRORED,
    "eight": (*_MIRRORED, *(Flip(flip.reversed_dims, transposed=True) for flip in _MIRRORED)),
}
