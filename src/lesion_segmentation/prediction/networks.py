"""Networks as a predictor runs them: modules of users, fused batch norms, and flips for test-time augmentation."""

import copy
from itertools import pairwise
from typing import NamedTuple

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
