"""From a probability map to a mask, in the one way that scores, figures and predictions share."""

import numpy as np


def binarize(probability: np.ndarray, threshold: float, keep_largest_component: bool = False) -> np.ndarray:
    """Where the probability (H, W) is above the threshold, boolean (H, W).

    With `keep_largest_component` only its largest part is kept, with its holes filled: every mask of PH2 is of that kind.
    """
    mask = probability > threshold
    return select_largest_component(mask) if keep_largest_component else mask


def select_largest_component(mask: np.ndarray) -> np.ndarray:
    """A mask (H, W) with its largest part alone, holes filled; as it is where it is empty."""
    from scipy.ndimage import binary_fill_holes, label

    parts, count = label(mask, np.ones((3, 3)))  # pixels that touch at a corner belong together
    if count > 1:
        mask = parts == 1 + np.bincount(parts.ravel())[1:].argmax()
    filled: np.ndarray = binary_fill_holes(mask)
    return filled
