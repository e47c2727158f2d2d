"""Lesions pasted on other skin: a picture of the batch gets the lesion of another one that covers its own."""

import kornia
import torch
from torch import Tensor

COVERED = 0.98
"""Share of a picture's own lesion that the pasted one has to cover."""
EDGE = 4.0
"""Standard deviation of the soft edge, in pixels."""


def paste_lesions(images: Tensor, masks: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Where `chosen` (N,) and some picture of the batch has a lesion that covers this one's, that lesion is pasted.

    Args:
        images: (N, 3, H, W), 0 to 1.
        masks: (N, 1, H, W), 0 or 1.
        chosen: (N,), which of them may get one.
    """
    flat = masks.flatten(1)
    own = flat.sum(dim=1)
    covers = (flat @ flat.T) >= COVERED * own[:, None]
    covers &= ~torch.eye(len(masks), dtype=torch.bool, device=masks.device)
    donors = torch.where(covers, own[None], torch.inf).argmin(dim=1)  # the smallest that covers: the likeliest
    wanted = (chosen & covers.any(dim=1) & (own > 0)).view(-1, 1, 1, 1)
    theirs, skin = masks[donors], images[donors]
    wide = kornia.filters.gaussian_blur2d(theirs, (25, 25), (EDGE, EDGE), border_type="replicate")
    alpha = (2 * wide).clamp(0, 1) * wanted
    shift = _mean_outside(images, masks) - _mean_outside(skin, theirs)
    pasted = images * (1 - alpha) + (skin + shift).clamp(0, 1) * alpha
    return pasted, torch.where(wanted, theirs, masks)


def _mean_outside(images: Tensor, masks: Tensor) -> Tensor:
    """The mean colour of the skin, (N, 3, 1, 1)."""
    skin = 1 - masks
    return (images * skin).sum(dim=(2, 3), keepdim=True) / skin.sum(dim=(2, 3), keepdim=True).clamp(min=1)
