"""Description of one prediction: the row of an image in predictions.csv."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lesion_segmentation.evaluation.expected_dice import Knot, estimate_dice, expected_overlap
from lesion_segmentation.images.masks import count_components, find_box

SMALLEST, LARGEST = 0.01, 0.99
"""Usual limits of the lesion's share of the image: 3% to 98% in PH2, 0.3% to 99% in ISIC 2018."""
LEAST_CONFIDENCE = 0.9
LEAST_DICE = 0.8
LEAST_CONTRAST = 4.0
"""Standard deviation of grey levels (0 to 255) below which an image shows nothing."""
BLOCK = 2**14
"""Number of pixels whose probabilities are summed at a time, so that intermediate values stay in the cache."""

COLUMNS = (
    "image", "width", "height", "lesion_area", "lesion_percent", "left", "top", "right", "bottom", "centroid_x",
    "centroid_y", "touches_border", "components", "confidence", "entropy", "expected_dice", "expected_dice_low",
    "expected_dice_high", "disagreement", "flag", "color_profile", "seconds",
)  # fmt: skip


def describe_prediction(
    probability: np.ndarray,
    mask: np.ndarray,
    image: np.ndarray,
    color_profile: str = "",
    knots: Sequence[Knot] = (),
) -> dict[str, Any]:
    """Describe the prediction for an image, uint8 (H, W, 3): probabilities (H, W), 0 to 1, and a boolean mask (H, W).

    Returns:
        The COLUMNS without image, disagreement and seconds. Lengths are in pixels, `lesion_percent` is a percentage of
        the image. `right` and `bottom` are one beyond the last pixel of the bounding box; box and centroid are empty
        strings without a lesion. `components` counts connected components, in which pixels touch at a side or a corner.
        `confidence` is the mean over pixels of the probability of the predicted class, `entropy` the mean over pixels
        in bits. `expected_dice` is the Dice that masks with such probabilities had in the validation cases of the
        network; 80% of them lay between the limits `expected_dice_low` and `expected_dice_high`. The three are empty
        without a lesion or without `knots`, the `expected_dice` of the network's metadata. `flag` contains words for
        what is unusual, separated by spaces: no-lesion, small, fills, unsure, flat and grey.
    """
    height, width = mask.shape
    area = int(np.count_nonzero(mask))
    confidence, entropy, overlap = _average(probability, mask, area)
    expected = estimate_dice(knots, overlap) if knots and area else ()
    is_unsure = expected[0] < LEAST_DICE if expected else confidence < LEAST_CONFIDENCE
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
        **{
            f"expected_dice{end}": round(expected[i], 4) if expected else ""
            for i, end in enumerate(("", "_low", "_high"))
        },
        "flag": " ".join(_find_flags(area / mask.size, is_unsure, image)),
        "color_profile": color_profile,
    }


def _average(probability: np.ndarray, mask: np.ndarray, area: int) -> tuple[float, float, float]:
    """Return the mean probability of the predicted class, the mean entropy in bits, and the expected overlap."""
    lesion = inside_mask = entropy = 0.0
    probabilities, in_mask = probability.ravel(), mask.ravel()
    for start in range(0, mask.size, BLOCK):
        block = slice(start, start + BLOCK)
        inside = probabilities[block].astype(np.float64).clip(1e-7, 1 - 1e-7)
        outside = 1 - inside
        lesion += float(inside.sum())
        inside_mask += float((inside * in_mask[block]).sum())
        entropy -= float((inside * np.log2(inside) + outside * np.log2(outside)).sum())  # BLAS would start threads
    right = inside_mask + (mask.size - area) - (lesion - inside_mask)
    return right / mask.size, entropy / mask.size, expected_overlap(lesion, inside_mask, area)


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


def _find_flags(share: float, is_unsure: bool, image: np.ndarray) -> list[str]:
    sampled = image[:: max(1, image.shape[0] // 256), :: max(1, image.shape[1] // 256)]
    red, green, blue = (sampled[..., channel].astype(np.int16) for channel in range(3))
    largest, smallest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    found = {
        "no-lesion": share == 0,
        "small": 0 < share < SMALLEST,
        "fills": share > LARGEST,
        "unsure": is_unsure,
        "flat": ((red + green + blue) / 3).std() < LEAST_CONTRAST,
        "grey": int((largest - smallest).max()) < 4,  # dermoscopic images have colors
    }
    return [name for name, holds in found.items() if holds]
