import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from lesion_segmentation.evaluation.borders import distance_to_border, score_border, score_distances

SHAPE = (20, 30)


def disc(row: float, column: float, radius: float, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(rows - row, columns - column) <= radius


def eroded_boundary(mask: np.ndarray, width: int) -> np.ndarray:
    """Definition of Cheng et al.: the pixels of the mask that `width` erosions remove, with zeros outside the image."""
    eroded = binary_erosion(np.pad(mask, 1), np.ones((3, 3)), iterations=width)[1:-1, 1:-1]
    return mask & ~eroded


@settings(max_examples=50, deadline=None)
@given(arrays(bool, SHAPE), arrays(bool, SHAPE))
def test_boundary_iou_equals_iterated_erosion(prediction, mask):
    one, other = (eroded_boundary(region, 1) for region in (prediction, mask))
    union = (one | other).sum()
    expected = (one & other).sum() / union if union else 1.0
    assert score_border(prediction, mask)["boundary_iou"] == pytest.approx(expected)


@pytest.mark.parametrize("column", [60, 64, 70])
def test_boundary_iou_with_a_wide_band(column):
    shape = (150, 200)  # 2% of the diagonal of 250 pixels are 5 pixels
    prediction, mask = disc(70, column, 40, shape), disc(70, 60, 40, shape)
    one, other = (eroded_boundary(region, 5) for region in (prediction, mask))
    assert score_border(prediction, mask)["boundary_iou"] == pytest.approx((one & other).sum() / (one | other).sum())


def edge(mask: np.ndarray) -> np.ndarray:
    """Return the coordinates of the mask's pixels that share a side with a pixel outside it."""
    return np.argwhere(mask & ~binary_erosion(mask))


@settings(max_examples=40, deadline=None)
@given(st.floats(6, 13), st.floats(8, 20), st.floats(2, 5), st.floats(6, 13), st.floats(8, 20), st.floats(2, 5))
def test_distances_agree_with_search_over_all_pairs(r1, c1, s1, r2, c2, s2):
    prediction, mask = disc(r1, c1, s1), disc(r2, c2, s2)
    pairs = cdist(edge(prediction), edge(mask))
    there, back = pairs.min(axis=1), pairs.min(axis=0)
    scores = score_distances(prediction, mask)
    assert scores["hd95"] == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), abs=1e-4)
    assert scores["asd"] == pytest.approx(np.concatenate([there, back]).mean(), abs=1e-4)
    assert scores["hd95_percent"] == pytest.approx(100 * scores["hd95"] / np.hypot(*SHAPE))


@pytest.mark.parametrize(("predicted", "lesion", "expected"), [(0, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1)])
def test_distances_of_empty_masks(predicted, lesion, expected):
    region = disc(10, 15, 5)
    scores = score_distances(region & bool(predicted), region & bool(lesion))
    assert scores["hd95"] == pytest.approx(expected * np.hypot(*SHAPE))
    assert scores["asd_percent"] == pytest.approx(expected * 100)


def test_border_error_share_worked_by_hand():
    mask = np.zeros((9, 20), bool)
    mask[:, :10] = True
    prediction = mask.copy()
    prediction[0, 10] = True  # next to the border
    prediction[0, 18] = True  # far from the border
    assert score_border(prediction, mask)["border_error_share"] == 0.5
    assert score_border(mask, mask)["border_error_share"] == 0
    assert distance_to_border(mask)[0].tolist() == [*range(10, 0, -1), *range(1, 11)]
