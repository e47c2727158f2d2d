"""Outlines of masks as polygons, and polygons as masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Outline

from lesion_segmentation.data.sources.synthetic import synthesize_case
from lesion_segmentation.images.polygons import fill_polygons, trace_polygons


def fill(mask: np.ndarray) -> np.ndarray:
    polygons, _ = trace_polygons(mask)
    return fill_polygons([polygon.ravel().tolist() for polygon in polygons], *mask.shape)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_polygons_give_synthetic_masks_back():
    scores, points = [], []
    for number in range(1, 31):
        mask = synthesize_case(number).mask
        scores.append(dice(fill(mask), mask))
        points.append(sum(len(polygon) for polygon in trace_polygons(mask)[0]))
    assert min(scores) >= 0.99
    assert max(points) <= 100  # few enough to correct by hand


def test_polygons_agree_with_matplotlib():
    mask = synthesize_case(3).mask
    polygons, _ = trace_polygons(mask)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]] + 0.5  # centers of the pixels
    centers = np.stack([x.ravel(), y.ravel()], axis=1)
    inside = np.any([Outline(polygon).contains_points(centers) for polygon in polygons], axis=0)
    assert dice(inside.reshape(mask.shape), mask) >= 0.99
    assert dice(inside.reshape(mask.shape), fill(mask)) >= 0.999


@pytest.mark.parametrize("radius", [2, 3, 5, 8, 20, 60])
def test_small_and_large_discs_survive(radius):
    y, x = np.mgrid[:150, :180]
    mask = (x - 80) ** 2 + (y - 70) ** 2 <= radius**2
    assert dice(fill(mask), mask) >= 0.985


def test_lesion_at_the_border_and_full_mask_survive():
    mask = np.zeros((40, 60), dtype=bool)
    mask[:20, :30] = True
    assert np.array_equal(fill(mask), mask)
    assert fill(np.ones((40, 60), dtype=bool)).all()
    assert trace_polygons(np.zeros((40, 60), dtype=bool)) == ([], False)
    assert not fill_polygons([], 40, 60).any()


def test_holes_are_reported_and_filled():
    mask = np.zeros((40, 60), dtype=bool)
    mask[5:30, 10:50] = True
    solid = mask.copy()
    mask[10:20, 20:30] = False
    polygons, has_holes = trace_polygons(mask)
    assert has_holes
    assert len(polygons) == 1
    assert np.array_equal(fill(mask), solid)
    assert not trace_polygons(solid)[1]


@settings(max_examples=60, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_polygons_of_any_mask_lie_in_the_image(mask):
    polygons, _ = trace_polygons(mask)
    assert bool(polygons) == mask.any()
    for polygon in polygons:
        assert len(polygon) >= 3
        assert (polygon >= 0).all()
        assert (polygon <= mask.shape[::-1]).all()
