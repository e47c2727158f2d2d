"""Scores of the border: boundary IoU, distances between contours, and the share of errors near the border."""

import warnings

import numpy as np

from lesion_segmentation.images.masks import find_box

BORDER_METRICS = ("boundary_iou", "border_error_share")
DISTANCE_METRICS = ("hd95", "asd", "hd95_percent", "asd_percent")
BOUNDARY_WIDTH = 0.02
"""Depth of a mask's boundary region inside its border, as a fraction of the image diagonal."""
BORDER_PIXELS = 2


def score_border(prediction: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Return the BORDER_METRICS of two boolean arrays (H, W), as fractions.

    boundary_iou is the IoU of the two boundary regions: the pixels of each mask within 2% of the image diagonal of its
    border (Cheng et al., "Boundary IoU", 2021). It is 1 if both masks are empty. border_error_share is the share of
    wrong pixels that lie within two pixels of the expert's border. It is 0 if no pixel is wrong.
    """
    width = max(1, round(BOUNDARY_WIDTH * float(np.hypot(*mask.shape))))
    if (prediction | mask).any():
        box = find_box(prediction | mask, margin=BORDER_PIXELS)  # no wrong pixel and no border lies outside
        prediction, mask = prediction[box], mask[box]
    one, other = _boundary(prediction, width), _boundary(mask, width)
    union = (one | other).sum()
    wrong = prediction != mask
    near = distance_to_border(mask) <= BORDER_PIXELS
    return {
        "boundary_iou": float((one & other).sum() / union) if union else 1.0,
        "border_error_share": float((wrong & near).sum() / wrong.sum()) if wrong.any() else 0.0,
    }


def distance_to_border(mask: np.ndarray) -> np.ndarray:
    """Return the distance of each pixel of a boolean mask to the nearest pixel of the other class, in pixels, (H, W).

    Pixels on both sides of the border have distance 1. All distances are infinite if the mask is empty or full.
    """
    if mask.all() or not mask.any():
        return np.full(mask.shape, np.inf)
    from scipy.ndimage import distance_transform_edt

    return np.where(mask, distance_transform_edt(mask), distance_transform_edt(~mask))


def score_distances(prediction: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Return the DISTANCE_METRICS of two boolean arrays (H, W), computed by MONAI.

    hd95 (the 95th percentile of the Hausdorff distance) and asd (the symmetric average surface distance) are in pixels;
    hd95_percent and asd_percent are percentages of the image diagonal. No distance is defined for an empty mask: the
    result is then the diagonal, or 0 if both masks are empty.
    """
    diagonal = float(np.hypot(*mask.shape))
    hd95, asd = _distances(prediction, mask, diagonal)
    return {"hd95": hd95, "asd": asd, "hd95_percent": 100 * hd95 / diagonal, "asd_percent": 100 * asd / diagonal}


def _distances(prediction: np.ndarray, mask: np.ndarray, diagonal: float) -> tuple[float, float]:
    if not (prediction.any() and mask.any()):
        distance = diagonal if prediction.any() or mask.any() else 0.0
        return distance, distance
    from monai.metrics.utils import get_mask_edges, get_surface_distance

    box = find_box(prediction | mask, margin=1)  # MONAI's own cropping takes longer than the distances
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "monai.*always_return_as_numpy", FutureWarning)  # by calls within MONAI 1.5
        one, other = get_mask_edges(prediction[box], mask[box], crop=False)
    distances = [get_surface_distance(one, other), get_surface_distance(other, one)]
    return max(float(np.quantile(each, 0.95)) for each in distances), float(np.concatenate(distances).mean())


def _boundary(mask: np.ndarray, width: int) -> np.ndarray:
    """Return the mask's pixels within `width` pixels (chessboard distance) of its border or of the image edge."""
    from scipy.ndimage import distance_transform_cdt

    depth = distance_transform_cdt(np.pad(mask, 1), metric="chessboard")[1:-1, 1:-1]
    return mask & (depth <= width)
