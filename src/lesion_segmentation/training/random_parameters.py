"""What is drawn for the pictures of an epoch."""

from typing import Self

import torch
from torch import Tensor


class RandomParameters:
    """A dataclass of tensors that have one row a picture."""

    def to(self, device: torch.device) -> Self:
        return type(self)(**{name: value.to(device) for name, value in vars(self).items()})

    def __getitem__(self, indices: Tensor | slice) -> Self:
        return type(self)(**{name: value[indices] for name, value in vars(self).items()})
