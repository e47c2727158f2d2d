"""Description of one prediction: the row of an image in predictions.csv."""

from typing import Any

import numpy as np

from lesion_segmentation.images.masks import count_components, find_box

SMALLEST, LARGEST = 0.01, 0.99
"""Usual limits of the lesion's share of the image: 3% to 98% in PH2, 0.3% to 99% in ISIC 2018."""
LEAST_CONFIDENCE = 0.9
LEAST_CONTRAST = 4.0
"""Standard deviation of grey levels (0 to 255) below which an image shows nothing."""
BLOCK = 2**15
"""Number of pixels whose probabilities are summed at a time, so that intermediate values stay in the cache."""

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
    height, width = mask.shape
    area = int(np.count_nonzero(mask))
    confidence, entropy = _average(probability, mask)
    return {
        "width": width,
        "height": height,
        "lesion_area": area,
        "lesion_percent": round(100 * area / mask.size, 4),
        **_locate(mask, area),
        "touches_border": bool(mask[[0, -1]].any() or mask[:, [0, -1]].any()),
        "components": count_components(mask),
        "confidence": round(confidence, 6),
        "entropy": round(entropy, 6),
        "flag": " ".join(_find_flags(area / mask.size, confidence, image)),
        "color_profile": color_profile,
    }


def _average(probability: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Return the mean probability of the predicted class and the mean entropy in bits."""
    confidence = entropy = 0.0
    for start in range(0, mask.size, BLOCK):
        block = slice(start, start + BLOCK)
        inside = probability.ravel()[block].astype(np.float64).clip(1e-7, 1 - 1e-7)
        outside = 1 - inside
        confidence += float(np.where(mask.ravel()[block], inside, outside).sum())
        entropy -= float(inside @ np.log2(inside) + outside @ np.log2(outside))
    return confidence / mask.size, entropy / mask.size


def _locate(mask: np.ndarray, area: int) -> dict[str, Any]:
    if not area:
        return dict.fromkeys(("left", "top", "right", "bottom", "centroid_x", "centroid_y"), "")
    rows, columns = box = find_box(mask)
    lesion = mask[box]
    x = np.average(np.arange(columns.start, columns.stop), weights=lesion.sum(axis=0))
    y = np.average(np.arange(rows.start, rows.stop), weights=lesion.sum(axis=1))
    return {
        "left": columns.start,
        "top": rows.start,
        "right": columns.stop,
        "bottom": rows.stop,
        "centroid_x": round(float(x), 2),
        "centroid_y": round(float(y), 2),
    }


def _find_flags(share: float, confidence: float, image: np.ndarray) -> list[str]:
    sampled = image[:: max(1, image.shape[0] // 256), :: max(1, image.shape[1] // 256)]
    red, green, blue = (sampled[..., channel].astype(np.int16) for channel in range(3))
    largest, smallest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    found = {
        "no-lesion": share == 0,
        "small": 0 < share < SMALLEST,
        "fills": share > LARGEST,
        "unsure": confidence < LEAST_CONFIDENCE,
        "flat": ((red + green + blue) / 3).std() < LEAST_CONTRAST,
        "grey": int((largest - smallest).max()) < 4,  # dermoscopic images have colors
    }
    return [name for name, holds in found.items() if holds]
