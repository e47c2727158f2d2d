"""A network made ready to predict fast: the same function, fewer steps."""

import copy
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lesion_segmentation.model import Network


def fuse_batch_norms(network: Network) -> Network:
    """A copy in evaluation mode, in which convolutions do the work of the batch norms that follow them.

    With running mean m, variance v and the norm's weight g and bias b, a convolution's weights become w g / sqrt(v + e)
    and its bias (c - m) g / sqrt(v + e) + b.
    """
    fused = copy.deepcopy(network).eval()
    for block in [module for module in fused.modules() if isinstance(module, nn.Sequential)]:
        for index, (layer, following) in enumerate(pairwise(list(block))):
            if isinstance(layer, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
                block[index] = fuse_conv_bn_eval(layer, following)
                block[index + 1] = nn.Identity()
    return fused
