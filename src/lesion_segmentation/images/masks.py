"""Masks from probability maps, and the contours of masks."""

import numpy as np


def binarize(probability: np.ndarray, threshold: float, keep_largest_component: bool = False) -> np.ndarray:
    """Return the boolean mask (H, W) of the pixels whose probability (H, W) is above the threshold.

    With `keep_largest_component`, only the largest connected component is kept and its holes are filled, since every
    mask of PH2 is of this kind.
    """
    mask = probability > threshold
    return select_largest_component(mask) if keep_largest_component else mask


def select_largest_component(mask: np.ndarray) -> np.ndarray:
    """Return the largest connected component of a boolean mask (H, W) with its holes filled.

    Pixels that touch at a corner are connected. An empty mask stays empty.
    """
    from scipy.ndimage import binary_fill_holes, label

    labels, count = label(mask, np.ones((3, 3)))
    if count > 1:
        mask = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    filled: np.ndarray = binary_fill_holes(mask)
    return filled


def trace_contours(mask: np.ndarray) -> list[np.ndarray]:
    """Trace the borders of a binary mask (H, W) by marching squares at level 0.5.

    Returns one array (N, 2) of x and y per closed line, in pixels; (0, 0) is the centre of the first pixel. Lesion that
    touches the edge of the image is closed along that edge.
    """
    from contourpy import contour_generator  # belongs to the extras `report` and `serve`

    lines = contour_generator(z=np.pad(mask.astype(np.float32), 1), line_type="Separate").lines(0.5)
    return [np.asarray(line, dtype=np.float64) - 1 for line in lines]
