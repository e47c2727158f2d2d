"""Networks as a predictor runs them: modules of users, fused batch norms, and flips for test-time augmentation."""

import copy
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.model import Network, NetworkMetadata
from lesion_segmentation.prediction.settings import TestTimeAugmentation


class Flip(NamedTuple):
    """Dimensions of (N, C, H, W) that are reversed, and whether height and width are swapped afterwards."""

    reversed_dims: tuple[int, ...] = ()
    transposed: bool = False

    def apply(self, images: Tensor) -> Tensor:
        flipped = images.flip(self.reversed_dims)
        return flipped.transpose(-1, -2) if self.transposed else flipped

    def undo(self, maps: Tensor) -> Tensor:
        upright = maps.transpose(-1, -2) if self.transposed else maps
        return upright.flip(self.reversed_dims)


_MIRRORED = tuple(Flip(dims) for dims in ((), (-1,), (-2,), (-1, -2)))
FLIPS: dict[TestTimeAugmentation, tuple[Flip, ...]] = {
    "none": _MIRRORED[:1],
    "four": _MIRRORED,
    "eight": (*_MIRRORED, *(Flip(flip.reversed_dims, transposed=True) for flip in _MIRRORED)),
}


def measure_disagreement(masks: Tensor) -> list[float | None]:
    """Return how much the masks of the flips disagree, from 0 to 1, for boolean masks (flips, N, H, W).

    It is 1 minus the Dice between two flips, pooled over all pairs of them: twice the sum of the intersections divided
    by the sum of the areas. It is 0 if all masks are empty, and None for a single flip.
    """
    if len(masks) == 1:
        return [None] * masks.shape[1]
    votes = masks.sum(dim=0)
    shared = (votes * (votes - 1)).sum(dim=(1, 2)).double()
    areas = ((len(masks) - 1) * votes).sum(dim=(1, 2))
    return torch.where(areas > 0, 1 - shared / areas, 0.0).cpu().tolist()  # on a GPU, one copy


class ModuleNetwork(Network):
    """Network of a user's module, whose output is checked."""

    def __init__(self, module: nn.Module, metadata: NetworkMetadata) -> None:
        super().__init__()
        self.module, self.metadata = module, metadata

    def forward(self, x: Tensor) -> Tensor:
        logits = self.module(x)
        found, expected = getattr(logits, "shape", type(logits)), (len(x), 1, *x.shape[2:])
        if found != expected:
            raise InputError(f"{self.title} returns {found} for {x.shape}, expected logits of shape {expected}.")
        return logits


def fuse_batch_norms(network: Network) -> Network:
    """Return a copy in evaluation mode that computes the same function without the batch norms behind convolutions."""
    fused = copy.deepcopy(network).eval()
    for block in [each for each in fused.modules() if isinstance(each, nn.Sequential)]:
        if type(block).forward is not nn.Sequential.forward:  # a user's class may do something between two layers
            continue
        for index, (layer, following) in enumerate(pairwise(list(block))):
            if isinstance(layer, nn.Conv2d) and isinstance(following, nn.BatchNorm2d) and following.track_running_stats:
                block[index] = fuse_conv_bn_eval(layer, following)
                block[index + 1] = nn.Identity()
    return fused
