"""Losses by name: logits and masks, both (N, 1, H, W) with masks 0 or 1, to a scalar."""

from collections.abc import Callable

import torch
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


def iou_loss(logits: Tensor, masks: Tensor, smooth: float = 1.0) -> Tensor:
    """1 - soft IoU, (sum(p y) + smooth) / (sum(p) + sum(y) - sum(p y) + smooth) per image, mean over images.

    After Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks" (2016).
    """
    probabilities = logits.sigmoid()
    overlap = (probabilities * masks).sum(dim=(1, 2, 3))
    union = probabilities.sum(dim=(1, 2, 3)) + masks.sum(dim=(1, 2, 3)) - overlap
    return 1 - ((overlap + smooth) / (union + smooth)).mean()


def bce_iou_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy plus the IoU loss."""
    return binary_cross_entropy_with_logits(logits, masks) + iou_loss(logits, masks)


def lovasz_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """The Lovasz hinge: the convex surrogate of 1 - IoU of hard masks, per image, mean over images.

    After Berman, Triki and Blaschko, "The Lovasz-Softmax loss" (2018), equation 9 and algorithm 1.
    """
    errors = (1 - logits * (2 * masks - 1)).flatten(1)  # (N, H W): above 0 where the margin is not kept
    errors, order = errors.sort(dim=1, descending=True)
    truth = masks.flatten(1).gather(1, order)
    lesion = truth.sum(dim=1, keepdim=True)
    jaccard = 1 - (lesion - truth.cumsum(dim=1)) / (lesion + (1 - truth).cumsum(dim=1))
    weights = jaccard.diff(dim=1, prepend=torch.zeros_like(lesion))
    return (errors.relu() * weights).sum(dim=1).mean()


def bce_lovasz_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy plus the Lovasz hinge."""
    return binary_cross_entropy_with_logits(logits, masks) + lovasz_loss(logits, masks)


LOSSES: dict[str, Loss] = {
    "bce": binary_cross_entropy_with_logits,
    "bce_dice": bce_dice_loss,
    "bce_iou": bce_iou_loss,
    "bce_lovasz": bce_lovasz_loss,
}
