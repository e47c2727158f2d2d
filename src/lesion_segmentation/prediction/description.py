"""What is said of one prediction: a row of predictions.csv."""

from typing import Any

import numpy as np

SMALLEST, LARGEST = 0.01, 0.99
"""Shares of the picture: PH2's lesions are 3% to 98% of it, ISIC 2018's 0.3% to 99%."""
LEAST_CONFIDENCE = 0.9
LEAST_CONTRAST = 4.0
"""Deviation of the grey levels, of 0 to 255: less has nothing to see."""

RULES = {
    "no lesion": "no pixel is lesion",
    "small": f"the lesion is under {SMALLEST:.0%} of the picture",
    "fills": f"the lesion is over {LARGEST:.0%} of the picture",
    "unsure": f"the mean confidence is under {LEAST_CONFIDENCE:g}",
    "flat": f"the grey levels deviate by less than {LEAST_CONTRAST:g} of 255",
    "grey": "the picture has no colours, and dermoscopic pictures have",
}
"""Words of `flag`, and when each stands there."""

COLUMNS = (
    "picture", "width", "height", "lesion_area", "lesion_percent", "left", "top", "right", "bottom", "centroid_x",
    "centroid_y", "touches_border", "parts", "confidence", "entropy", "flag", "seconds",
)  # fmt: skip


def describe_prediction(probability: np.ndarray, mask: np.ndarray, image: np.ndarray) -> dict[str, Any]:
    """Of a picture (H, W, 3), its probabilities (H, W), 0 to 1, and its mask (H, W).

    Returns:
        width, height; lesion_area in pixels, lesion_percent of the picture; left, top, right and bottom of the
        bounding box (the last two beyond its last pixel), centroid_x and centroid_y in pixels, empty without a lesion;
        touches_border; parts that touch neither at a side nor at a corner; confidence, the mean over pixels of the
        probability of what the pixel was called; entropy, the mean over pixels in bits; flag, words of RULES.
    """
    from scipy.ndimage import label  # commands that predict nothing start without it

    height, width = mask.shape
    area = int(mask.sum())
    inside = probability.astype(np.float64).clip(1e-7, 1 - 1e-7)
    confidence = float(np.where(mask, inside, 1 - inside).mean())
    entropy = float(-(inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside)).mean())
    row: dict[str, Any] = {
        "width": width,
        "height": height,
        "lesion_area": area,
        "lesion_percent": round(100 * area / mask.size, 4),
        **_place(mask),
        "touches_border": bool(mask[[0, -1]].any() or mask[:, [0, -1]].any()),
        "parts": int(label(mask, np.ones((3, 3)))[1]),
        "confidence": round(confidence, 6),
        "entropy": round(entropy, 6),
    }
    return row | {"flag": " ".join(_flags(area / mask.size, confidence, image))}


def _place(mask: np.ndarray) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return dict.fromkeys(("left", "top", "right", "bottom", "centroid_x", "centroid_y"), "")
    weights = mask.sum(axis=1), mask.sum(axis=0)
    centre = [float(np.average(np.arange(len(weight)), weights=weight)) for weight in weights]
    return {
        "left": int(columns[0]),
        "top": int(rows[0]),
        "right": int(columns[-1]) + 1,
        "bottom": int(rows[-1]) + 1,
        "centroid_x": round(centre[1], 2),
        "centroid_y": round(centre[0], 2),
    }


def _flags(share: float, confidence: float, image: np.ndarray) -> list[str]:
    sampled = image[:: max(1, image.shape[0] // 256), :: max(1, image.shape[1] // 256)].astype(np.int16)
    found = {
        "no lesion": share == 0,
        "small": 0 < share < SMALLEST,
        "fills": share > LARGEST,
        "unsure": confidence < LEAST_CONFIDENCE,
        "flat": sampled.mean(axis=2).std() < LEAST_CONTRAST,
        "grey": int(np.ptp(sampled, axis=2).max()) < 4,
    }
    return [name.replace(" ", "-") for name, holds in found.items() if holds]
