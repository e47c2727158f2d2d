"""Losses by name: logits and masks, both (N, 1, H, W) with masks 0 or 1, to a scalar."""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

Loss = Callable[[Tensor, Tensor], Tensor]


def dice_loss(logits: Tensor, masks: Tensor, smooth: float = 1.0) -> Tensor:
    """1 - soft Dice, (2 sum(p y) + smooth) / (sum(p) + sum(y) + smooth) per image, mean over images.

    After Milletari, Navab and Ahmadi, "V-Net" (2016), without its squares.
    """
    probabilities = logits.sigmoid()
    overlap = (probabilities * masks).sum(dim=(1, 2, 3))
    total = probabilities.sum(dim=(1, 2, 3)) + masks.sum(dim=(1, 2, 3))
    return 1 - ((2 * overlap + smooth) / (total + smooth)).mean()


def bce_dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy plus the Dice loss."""
    return binary_cross_entropy_with_logits(logits, masks) + dice_loss(logits, masks)


LOSSES: dict[str, Loss] = {"bce": binary_cross_entropy_with_logits, "bce_dice": bce_dice_loss}
