"""Masks of several annotators for one case, and the consensus that training and scores take as the truth."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from PIL import Image

Reader = Callable[[], Image.Image]
"""Function that reads and decodes an image or a mask."""
RawMasks = Mapping[str, Reader | Mapping[str, Reader]]
"""case_id to the reader of its mask, or to the reader of each annotator's mask by the annotator's name."""
Consensus = Literal["majority", "staple", "soft"]
STAPLE_ITERATIONS = 100  # masks without any common structure would need thousands


def form_consensus(masks: Sequence[np.ndarray], consensus: Consensus = "majority") -> np.ndarray:
    """Return the boolean consensus (H, W) of boolean masks (H, W), which is the mask itself if there is only one.

    `majority` marks the pixels that at least half of the annotators mark, so that a tie is lesion. `soft` does the
    same, since scores need a binary mask. `staple` marks the pixels whose probability is at least 0.5 by the algorithm
    of Warfield, Zou and Wells, "Simultaneous truth and performance level estimation" (2004), which weights each
    annotator by the sensitivity and specificity that it estimates.

    Raises:
        InputError: SimpleITK, which computes STAPLE, is not installed.
    """
    if all(np.array_equal(mask, masks[0]) for mask in masks):  # STAPLE is undefined for masks that are all empty
        return masks[0]
    if consensus == "staple":
        return _estimate_truth(masks) >= 0.5
    return 2 * np.sum(masks, axis=0) >= len(masks)


def _estimate_truth(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Return the probability (H, W) of STAPLE that a pixel is lesion."""
    import SimpleITK

    images = [SimpleITK.GetImageFromArray(mask.astype(np.uint8)) for mask in masks]
    probability = SimpleITK.STAPLE(images, 1.0, 1.0, STAPLE_ITERATIONS)  # confidence weight, foreground value
    return np.asarray(SimpleITK.GetArrayFromImage(probability))
