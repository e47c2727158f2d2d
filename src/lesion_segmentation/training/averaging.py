"""Exponential moving average of a network."""

import copy
from itertools import chain

import torch

from lesion_segmentation.model import Network


class AveragedNetwork:
    """Exponential moving average of a network's weights and running statistics.

    The decay of update t is min(decay, (1 + t) / (10 + t)), so that short trainings do not keep their initial weights.
    torch.optim.swa_utils.AveragedModel does the same, but copies a counter to the device at each update, for which the
    host would wait.

    Args:
        network: The network to follow. It must already be on its device, since its tensors are listed once.
        decay: Weight of the former average, 0 to 1.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay
        self.updates = 0
        pairs = list(zip(_tensors(self.network), _tensors(network), strict=True))
        self._averaged, self._current = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
        counters = [pair for pair in pairs if not pair[0].is_floating_point()]
        self._counters, self._current_counters = ([pair[side] for pair in counters] for side in (0, 1))

    @torch.no_grad()
    def update(self) -> None:
        """Move the average one step towards the network."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(self._averaged, self._current, 1 - decay)
        if self._counters:
            torch._foreach_copy_(self._counters, self._current_counters)


def _tensors(network: Network) -> chain[torch.Tensor]:
    return chain(network.parameters(), network.buffers())
