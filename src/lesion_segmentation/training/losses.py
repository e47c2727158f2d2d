"""Losses by name: logits and masks, both (N, 1, H, W) with masks 0 or 1, to a scalar.

Tests compare the two soft losses with monai.losses.DiceLoss, which rounds differently in the last bits: replacing them
would change the weights of every published training.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

Loss = Callable[[Tensor, Tensor], Tensor]


def dice_loss(logits: Tensor, masks: Tensor, smooth: float = 1.0) -> Tensor:
    """1 - soft Dice, (2 sum(p y) + smooth) / (sum(p) + sum(y) + smooth) per image, averaged over images.

    The definition is that of Milletari, Navab and Ahmadi, "V-Net" (2016), without the squares.
    """
    probabilities = logits.sigmoid()
    overlap = (probabilities * masks).sum(dim=(1, 2, 3))
    total = probabilities.sum(dim=(1, 2, 3)) + masks.sum(dim=(1, 2, 3))
    return 1 - ((2 * overlap + smooth) / (total + smooth)).mean()


def iou_loss(logits: Tensor, masks: Tensor, smooth: float = 1.0) -> Tensor:
    """1 - soft IoU, (sum(p y) + smooth) / (sum(p) + sum(y) - sum(p y) + smooth) per image, averaged over images.

    The definition is that of Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks" (2016).
    """
    probabilities = logits.sigmoid()
    overlap = (probabilities * masks).sum(dim=(1, 2, 3))
    union = probabilities.sum(dim=(1, 2, 3)) + masks.sum(dim=(1, 2, 3)) - overlap
    return 1 - ((overlap + smooth) / (union + smooth)).mean()


LOSSES: dict[str, Loss] = {
    "bce": binary_cross_entropy_with_logits,
    "bce_dice": lambda logits, masks: binary_cross_entropy_with_logits(logits, masks) + dice_loss(logits, masks),
    "bce_iou": lambda logits, masks: binary_cross_entropy_with_logits(logits, masks) + iou_loss(logits, masks),
}
