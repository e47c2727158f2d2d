"""Views of cases for the report page: image, both contours, and the pixels that differ."""

import base64
import io
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from lesion_segmentation.images.masks import trace_contours
from lesion_segmentation.report.style import Arrays

FALSE_POSITIVE, FALSE_NEGATIVE = (213, 94, 0), (0, 114, 178)
"""Vermilion and blue of Okabe and Ito's palette."""
ALWAYS_SHOWN = 50
"""Number of worst cases, and of best cases, that are shown from each subset."""


def choose_shown(case_metrics: pd.DataFrame, most: int) -> pd.DataFrame:
    """Select at most `most` rows: the worst, the median and the best of each subset, and a sample of the others."""
    if len(case_metrics) <= most:
        return case_metrics
    kept: set[int] = set()
    for _, part in case_metrics.groupby("subset"):
        ranked = list(part.sort_values("dice", kind="stable").index)
        kept |= {*ranked[:ALWAYS_SHOWN], ranked[len(ranked) // 2], *ranked[-ALWAYS_SHOWN:]}
    sample = case_metrics.drop(index=list(kept)).sample(most - len(kept), random_state=0).index
    return case_metrics.loc[sorted(kept.union(sample))]


def view_cases(
    case_metrics: pd.DataFrame, groups: pd.DataFrame, images: Arrays, masks: Arrays, predicted_masks: Arrays
) -> list[dict[str, Any]]:
    """Create the view of each sample of case_metrics, in its order, for the template.

    The index of case_metrics is the row in case_metrics.csv; groups has case_id, diagnosis and lesion_size in words.

    Returns:
        For each sample its row, ids, words and scores; `image` (JPEG) and `disagreement` (PNG, transparent where
        prediction and ground truth agree) in base64; `truth` and `predicted`, the contours as SVG paths in pixels.
    """
    words = groups.set_index("case_id")
    views = []
    for case in case_metrics.itertuples():
        image, mask = images[case.sample_id], masks[case.sample_id].astype(bool)
        predicted = predicted_masks[case.sample_id].astype(bool)
        disagreement = _paint_disagreement(predicted, mask)
        view = {
            "row": case.Index,
            "sample_id": case.sample_id,
            "subset": case.subset,
            "diagnosis": words.loc[case.case_id, "diagnosis"],
            "size": words.loc[case.case_id, "lesion_size"],
            "dice": case.dice,
            "iou": case.iou,
            "width": image.shape[1],
            "height": image.shape[0],
            "image": _encode(Image.fromarray(image), "JPEG", quality=80),
            "disagreement": _encode(disagreement, "PNG", transparency=0, optimize=True),
            "truth": draw_path(mask),
            "predicted": draw_path(predicted),
        }
        views.append(view)
    return views


def draw_path(mask: np.ndarray) -> str:
    """Return the contours of a boolean mask (H, W) as an SVG path, in pixels from the corner of the first pixel."""
    lines = [" ".join(f"{x:g},{y:g}" for x, y in line + 0.5) for line in trace_contours(mask)]
    return "".join(f"M{points}Z" for points in lines)


def _paint_disagreement(predicted: np.ndarray, mask: np.ndarray) -> Image.Image:
    kinds = (predicted & ~mask).astype(np.uint8) + 2 * (~predicted & mask).astype(np.uint8)
    image = Image.fromarray(kinds)
    image.putpalette([255, 255, 255, *FALSE_POSITIVE, *FALSE_NEGATIVE])
    return image


def _encode(image: Image.Image, file_format: str, **options: object) -> str:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return base64.b64encode(buffer.getvalue()).decode()
