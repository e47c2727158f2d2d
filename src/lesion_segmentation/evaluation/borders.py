"""What happens at the border: boundary IoU, the distance of annotation_styles, and how much of the error lies there."""

import numpy as np

BORDER_METRICS = ("boundary_iou", "border_error_share")
DISTANCE_METRICS = ("hd95", "asd", "hd95_percent", "asd_percent")
BOUNDARY_WIDTH = 0.02
"""Of the picture's diagonal: how far inside its border a mask's boundary region reaches."""
BORDER_PIXELS = 2


def score_border(prediction: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """BORDER_METRICS of two boolean arrays (H, W), as fractions.

    boundary_iou: the IoU of the pixels that lie within 2% of the diagonal of the border, inside each mask (Cheng et
    al., "Boundary IoU", 2021); 1 where both masks are empty. border_error_share: of the wrong pixels those within two
    pixels of the expert's border; 0 where nothing is wrong.
    """
    width = max(1, round(BOUNDARY_WIDTH * float(np.hypot(*mask.shape))))
    inside = [_boundary(region, width) for region in (prediction, mask)]
    union = (inside[0] | inside[1]).sum()
    wrong = prediction != mask
    near = distance_to_border(mask) <= BORDER_PIXELS
    return {
        "boundary_iou": float((inside[0] & inside[1]).sum() / union) if union else 1.0,
        "border_error_share": float((wrong & near).sum() / wrong.sum()) if wrong.any() else 0.0,
    }


def distance_to_border(mask: np.ndarray) -> np.ndarray:
    """Pixels from each pixel's centre to the nearest pixel of the other kind, (H, W): 1 on both sides of the border.

    Infinite where the mask is empty or full: it has no border inside the picture.
    """
    if mask.all() or not mask.any():
        return np.full(mask.shape, np.inf)
    from scipy.ndimage import distance_transform_edt

    return np.where(mask, distance_transform_edt(mask), distance_transform_edt(~mask))


def score_distances(prediction: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """DISTANCE_METRICS of two boolean arrays (H, W), by MONAI.

    hd95 (the 95th percentile of the Hausdorff distance) and asd (the symmetric average surface distance) in pixels,
    and both in percent of the picture's diagonal. Where one of the masks is empty there is no distance: 0 if both
    are, else the diagonal.
    """
    diagonal = float(np.hypot(*mask.shape))
    hd95, asd = _distances(prediction, mask, diagonal)
    return {"hd95": hd95, "asd": asd, "hd95_percent": 100 * hd95 / diagonal, "asd_percent": 100 * asd / diagonal}


def _distances(prediction: np.ndarray, mask: np.ndarray, diagonal: float) -> tuple[float, float]:
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    if not (prediction.any() and mask.any()):
        distance = diagonal if prediction.any() or mask.any() else 0.0
        return distance, distance
    pair = (prediction[None, None].astype(np.float32), mask[None, None].astype(np.float32))
    hd95 = compute_hausdorff_distance(*pair, include_background=True, percentile=95)
    asd = compute_average_surface_distance(*pair, include_background=True, symmetric=True)
    return float(hd95), float(asd)


def _boundary(mask: np.ndarray, width: int) -> np.ndarray:
    """The pixels of the mask within `width` pixels (chessboard) of its border; the picture's edge counts as border."""
    from scipy.ndimage import distance_transform_cdt

    depth = distance_transform_cdt(np.pad(mask, 1), metric="chessboard")[1:-1, 1:-1]
    return mask & (depth <= width)
