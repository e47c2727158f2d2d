"""Masks from probability maps, and the contours of masks."""

import numpy as np

_EIGHT_NEIGHBOURS = np.ones((3, 3))


def binarize(probability: np.ndarray, threshold: float, keep_largest_component: bool = False) -> np.ndarray:
    """Return the boolean mask (H, W) of the pixels whose probability (H, W) is above the threshold.

    With `keep_largest_component`, only the largest connected component is kept and its holes are filled, since every
    mask of PH2 is of this kind.
    """
    mask = probability > threshold
    return select_largest_component(mask) if keep_largest_component else mask


def select_largest_component(mask: np.ndarray) -> np.ndarray:
    """Return the largest connected component of a boolean mask (H, W) with its holes filled.

    Pixels that touch at a side or a corner are connected. If several components are the largest, the one whose first
    pixel comes first, row by row, is kept. Holes are background that is enclosed by such
    pixels. An empty mask stays empty.
    """
    from scipy.ndimage import label  # late import: commands that predict nothing start without scipy

    mask = mask.astype(bool, copy=False)
    filled = np.zeros_like(mask)
    if mask.any():
        box = find_box(mask)
        labels, count = label(mask[box], _EIGHT_NEIGHBOURS)
        component = mask[box]
        if count > 1:
            component = labels == np.bincount(labels[component]).argmax()
        # Only background that touches the edge of the box is outside. The frame connects its parts to one component,
        # the first, and it is labelled by its four neighbours, since diagonal ones do not connect across a lesion.
        outside, _ = label(np.pad(~component, 1, constant_values=True))
        filled[box] = (outside != 1)[1:-1, 1:-1]
    return filled


def count_components(mask: np.ndarray) -> int:
    """Count the connected components of a boolean mask (H, W), whose pixels touch at a side or a corner."""
    from scipy.ndimage import label

    return int(label(mask[find_box(mask)], _EIGHT_NEIGHBOURS)[1]) if mask.any() else 0


def find_box(mask: np.ndarray, margin: int = 0) -> tuple[slice, slice]:
    """Return the rows and columns of the bounding box of a boolean mask (H, W) that is not empty.

    The box is enlarged by `margin` pixels on each side, but not beyond the image.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return tuple(
        slice(max(0, int(each[0]) - margin), min(size, int(each[-1]) + 1 + margin))
        for each, size in zip((rows, columns), mask.shape, strict=True)
    )  # type: ignore[return-value]


def trace_contours(mask: np.ndarray) -> list[np.ndarray]:
    """Trace the borders of a binary mask (H, W) by marching squares at level 0.5.

    Returns one array (N, 2) of x and y per closed line, in pixels; (0, 0) is the centre of the first pixel. Lesion that
    touches the edge of the image is closed along that edge.
    """
    from contourpy import contour_generator  # belongs to the extras `report` and `serve`

    lines = contour_generator(z=np.pad(mask.astype(np.float32), 1), line_type="Separate").lines(0.5)
    return [np.asarray(line, dtype=np.float64) - 1 for line in lines]
