"""The exponential moving average of a network."""

import copy
from itertools import chain

import torch
from torch import nn

from lesion_segmentation.model import Network


class AveragedNetwork:
    """A copy of a network that follows its weights and running statistics slowly.

    The decay of update t is min(decay, (1 + t) / (10 + t)), so that short trainings are not left with the
    weights they began with. torch.optim.swa_utils.AveragedModel does the same but moves a counter to the device
    at each update, for which the host would wait.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take one step towards the network as it is now."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        pairs = list(zip(_tensors(self.network), _tensors(network), strict=True))
        averaged, current = zip(*((a, c) for a, c in pairs if a.is_floating_point()), strict=True)
        torch._foreach_lerp_(averaged, current, 1 - decay)
        for count, current_count in ((a, c) for a, c in pairs if not a.is_floating_point()):
            count.copy_(current_count)


def _tensors(network: nn.Module) -> chain[torch.Tensor]:
    return chain(network.parameters(), network.buffers())
