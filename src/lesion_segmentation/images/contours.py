"""Contours of masks, for the report and for the answers of the prediction server."""

import numpy as np


def trace_contours(mask: np.ndarray) -> list[np.ndarray]:
    """Trace the borders between lesion and skin by marching squares at level 0.5.

    Args:
        mask: Boolean, or 0 and 1, (H, W). Lesion that touches the edge of the image is closed along that edge.

    Returns:
        One array (N, 2) of x and y per closed line, in pixels; (0, 0) is the centre of the first pixel.
    """
    from contourpy import contour_generator  # belongs to the extras `report` and `serve`

    lines = contour_generator(z=np.pad(mask.astype(np.float32), 1), line_type="Separate").lines(0.5)
    return [np.asarray(line, dtype=np.float64) - 1 for line in lines]
