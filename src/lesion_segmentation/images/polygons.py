"""Polygons that outline a mask, and the mask inside polygons.

Points are x and y in pixels from the top left corner of the image, so the first pixel extends from 0 to 1.
"""

from collections.abc import Sequence

import numpy as np

from lesion_segmentation.images.masks import trace_contours

TOLERANCE = 1 / 100
"""Greatest distance of a border from its polygon, as a fraction of the square root of the area inside it. Such
polygons have few points to correct, and their Dice with the masks of 60 synthetic cases is 0.995 or more."""


def trace_polygons(mask: np.ndarray) -> tuple[list[np.ndarray], bool]:
    """Return the outer polygons (N, 2) of a boolean mask (H, W), and whether the mask has holes, which they ignore."""
    lines = [line[:-1] + 0.5 for line in trace_contours(mask)]  # the last point repeats the first
    areas = [_signed_area(line) for line in lines]
    outer = [_simplify(line, TOLERANCE * area**0.5) for line, area in zip(lines, areas, strict=True) if area > 0]
    return outer, len(outer) < len(lines)


def fill_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> np.ndarray:
    """Return the boolean mask (height, width) inside any of the polygons, each a list of x, y, x, y, ..."""
    from pycocotools import mask as coco  # belongs to the extra `annotations`

    if not polygons:
        return np.zeros((height, width), dtype=bool)
    return np.asarray(coco.decode(coco.merge(coco.frPyObjects(polygons, height, width))), dtype=bool)


def _signed_area(ring: np.ndarray) -> float:
    """Return the area of a polygon by the shoelace formula, negative for the border of a hole."""
    x, y = ring.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def _simplify(ring: np.ndarray, tolerance: float) -> np.ndarray:
    """Drop points of a polygon (N, 2) by the algorithm of Ramer, Douglas and Peucker."""
    closed, kept = np.vstack([ring, ring[:1]]), np.zeros(len(ring) + 1, dtype=bool)
    opposite = int(((ring - ring[0]) ** 2).sum(axis=1).argmax())
    kept[[0, opposite]] = True
    spans = [(0, opposite), (opposite, len(ring))]
    while spans:
        first, last = spans.pop()
        x, y = (closed[first + 1 : last] - closed[first]).T
        dx, dy = closed[last] - closed[first]
        distances = np.abs(dx * y - dy * x) / np.hypot(dx, dy)
        if distances.max(initial=0) > tolerance:
            middle = first + 1 + int(distances.argmax())
            kept[middle] = True
            spans += [(first, middle), (middle, last)]
    return ring[kept[:-1]]
