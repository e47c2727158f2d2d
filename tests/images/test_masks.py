import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lesion_segmentation.images.masks import binarize, count_components


def test_mask_contains_pixels_above_the_threshold():
    probability = np.array([[0.2, 0.5], [0.50001, 0.9]])
    assert binarize(probability, 0.5).tolist() == [[False, False], [True, True]]


def test_largest_component_is_kept_and_its_holes_are_filled():
    probability = np.zeros((12, 16))
    probability[2:9, 2:9] = 0.9
    probability[4, 4] = probability[5:7, 6] = 0.1  # two holes
    probability[9, 9] = 0.9  # connected at a corner
    probability[1:4, 12:15] = 0.9  # a second component
    kept = binarize(probability, 0.5, keep_largest_component=True)
    expected = np.zeros((12, 16), bool)
    expected[2:9, 2:9] = expected[9, 9] = True
    assert np.array_equal(kept, expected)


def find_components(mask: np.ndarray, corners: bool) -> list[set[tuple[int, int]]]:
    """Find connected components by a simple flood fill, as a reference."""
    steps = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0) and (corners or 0 in (a, b))]
    left, components = {(int(y), int(x)) for y, x in np.argwhere(mask)}, []
    while left:
        component, edge = set(), [left.pop()]
        while edge:
            y, x = edge.pop()
            component.add((y, x))
            near = {(y + a, x + b) for a, b in steps} & left
            left -= near
            edge += near
        components.append(component)
    return components


@given(arrays(bool, st.tuples(st.integers(2, 9), st.integers(2, 9))))
def test_kept_pixels_are_the_first_largest_component_and_its_holes(mask):
    kept = binarize(mask.astype(float), 0.5, keep_largest_component=True)
    components = sorted(find_components(mask, corners=True), key=min)
    if not components:
        assert not kept.any()
        assert count_components(mask) == 0
        return
    assert count_components(mask) == len(components)
    inside = {(int(y), int(x)) for y, x in np.argwhere(kept)}
    own = max(components, key=len)  # of several, the one whose first pixel comes first, row by row
    assert own <= inside
    around = np.ones((mask.shape[0] + 2, mask.shape[1] + 2), dtype=bool)
    for y, x in own:
        around[y + 1, x + 1] = False
    outside = find_components(around, corners=False)
    free = {(y - 1, x - 1) for y, x in next(each for each in outside if (0, 0) in each)}
    assert inside == {(y, x) for y in range(mask.shape[0]) for x in range(mask.shape[1])} - free


def test_empty_mask_stays_empty():
    assert not binarize(np.zeros((4, 4)), 0.5, keep_largest_component=True).any()
