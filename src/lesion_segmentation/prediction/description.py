"""Description of one prediction: the row of an image in predictions.csv."""

from typing import Any

import numpy as np

SMALLEST, LARGEST = 0.01, 0.99
"""Usual limits of the lesion's share of the image: 3% to 98% in PH2, 0.3% to 99% in ISIC 2018."""
LEAST_CONFIDENCE = 0.9
LEAST_CONTRAST = 4.0
"""Standard deviation of grey levels (0 to 255) below which an image shows nothing."""

COLUMNS = (
    "image", "width", "height", "lesion_area", "lesion_percent", "left", "top", "right", "bottom", "centroid_x",
    "centroid_y", "touches_border", "components", "confidence", "entropy", "flag", "color_profile", "seconds",
)  # fmt: skip


def describe_prediction(
    probability: np.ndarray, mask: np.ndarray, image: np.ndarray, color_profile: str = ""
) -> dict[str, Any]:
    """Describe the prediction for an image, uint8 (H, W, 3): probabilities (H, W), 0 to 1, and a boolean mask (H, W).

    Returns:
        The COLUMNS without image and seconds. Lengths are in pixels, `lesion_percent` is a percentage of the image.
        `right` and `bottom` are one beyond the last pixel of the bounding box; box and centroid are empty strings
        without a lesion. `components` counts connected components, in which pixels touch at a side or a corner.
        `confidence` is the mean over pixels of the probability of the predicted class, `entropy` the mean over pixels
        in bits. `flag` contains words for what is unusual, separated by spaces: no-lesion, small, fills, unsure, flat
        and grey.
    """
    from scipy.ndimage import label  # late import: commands that predict nothing start without scipy

    height, width = mask.shape
    area = int(mask.sum())
    inside = probability.astype(np.float64).clip(1e-7, 1 - 1e-7)
    outside = 1 - inside
    confidence = float(np.where(mask, inside, outside).mean())
    inside *= np.log2(inside)  # in place, since an image of 50 megapixels takes 400 MB per array
    outside *= np.log2(outside)
    inside += outside
    entropy = -float(inside.mean())
    return {
        "width": width,
        "height": height,
        "lesion_area": area,
        "lesion_percent": round(100 * area / mask.size, 4),
        **_locate(mask),
        "touches_border": bool(mask[[0, -1]].any() or mask[:, [0, -1]].any()),
        "components": int(label(mask, np.ones((3, 3)))[1]),
        "confidence": round(confidence, 6),
        "entropy": round(entropy, 6),
        "flag": " ".join(_find_flags(area / mask.size, confidence, image)),
        "color_profile": color_profile,
    }


def _locate(mask: np.ndarray) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return dict.fromkeys(("left", "top", "right", "bottom", "centroid_x", "centroid_y"), "")
    weights = mask.sum(axis=1), mask.sum(axis=0)
    center = [float(np.average(np.arange(len(weight)), weights=weight)) for weight in weights]
    return {
        "left": int(columns[0]),
        "top": int(rows[0]),
        "right": int(columns[-1]) + 1,
        "bottom": int(rows[-1]) + 1,
        "centroid_x": round(center[1], 2),
        "centroid_y": round(center[0], 2),
    }


def _find_flags(share: float, confidence: float, image: np.ndarray) -> list[str]:
    sampled = image[:: max(1, image.shape[0] // 256), :: max(1, image.shape[1] // 256)].astype(np.int16)
    found = {
        "no-lesion": share == 0,
        "small": 0 < share < SMALLEST,
        "fills": share > LARGEST,
        "unsure": confidence < LEAST_CONFIDENCE,
        "flat": sampled.mean(axis=2).std() < LEAST_CONTRAST,
        "grey": int(np.ptp(sampled, axis=2).max()) < 4,  # dermoscopic images have colors
    }
    return [name for name, holds in found.items() if holds]
