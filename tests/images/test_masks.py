import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lesion_segmentation.images.masks import binarize


def test_a_mask_is_where_the_probability_is_above_the_threshold():
    probability = np.array([[0.2, 0.5], [0.50001, 0.9]])
    assert binarize(probability, 0.5).tolist() == [[False, False], [True, True]]


def test_the_largest_part_is_kept_and_its_holes_are_filled():
    probability = np.zeros((12, 16))
    probability[2:9, 2:9] = 0.9
    probability[4, 4] = probability[5:7, 6] = 0.1  # two holes
    probability[9, 9] = 0.9  # it touches at a corner
    probability[1:4, 12:15] = 0.9  # a second part
    kept = binarize(probability, 0.5, keep_largest_component=True)
    expected = np.zeros((12, 16), bool)
    expected[2:9, 2:9] = expected[9, 9] = True
    assert np.array_equal(kept, expected)


def parts_of(mask: np.ndarray, corners: bool) -> list[set[tuple[int, int]]]:
    """Connected parts by flooding, the plain way."""
    steps = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0) and (corners or 0 in (a, b))]
    left, parts = {(int(y), int(x)) for y, x in np.argwhere(mask)}, []
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            y, x = edge.pop()
            part.add((y, x))
            near = {(y + a, x + b) for a, b in steps} & left
            left -= near
            edge += near
        parts.append(part)
    return parts


@given(arrays(bool, st.tuples(st.integers(2, 9), st.integers(2, 9))))
def test_what_is_kept_is_one_of_the_largest_parts_and_what_it_encloses(mask):
    kept = binarize(mask.astype(float), 0.5, keep_largest_component=True)
    parts = parts_of(mask, corners=True)
    if not parts:
        assert not kept.any()
        return
    inside = {(int(y), int(x)) for y, x in np.argwhere(kept)}
    (own,) = [part for part in parts if part <= inside and len(part) == max(map(len, parts))][:1]
    around = np.ones((mask.shape[0] + 2, mask.shape[1] + 2), dtype=bool)
    for y, x in own:
        around[y + 1, x + 1] = False
    outside = parts_of(around, corners=False)
    free = {(y - 1, x - 1) for y, x in next(part for part in outside if (0, 0) in part)}
    assert inside == {(y, x) for y in range(mask.shape[0]) for x in range(mask.shape[1])} - free


def test_nothing_stays_nothing():
    assert not binarize(np.zeros((4, 4)), 0.5, keep_largest_component=True).any()
