"""Views of cases for the report page: image, both contours, and the pixels that differ."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image

from lesion_segmentation.images.contours import trace_contours

FALSE_POSITIVE, FALSE_NEGATIVE = (213, 94, 0), (0, 114, 178)
"""Vermilion and blue of Okabe and Ito's palette."""


@dataclass(frozen=True)
class CaseView:
    """One scored sample, ready for the template.

    Attributes:
        row: Row number in case_metrics.csv.
        size: Share of the image that the lesion covers, in words.
        image: JPEG in base64.
        disagreement: PNG in base64, transparent where prediction and ground truth agree.
        truth, predicted: Contours as SVG paths in pixels.
    """

    row: int
    sample_id: str
    subset: str
    diagnosis: str
    size: str
    dice: float
    iou: float
    width: int
    height: int
    image: str
    disagreement: str
    truth: str
    predicted: str


def choose_shown(case_metrics: pd.DataFrame, most: int, always: int = 50) -> pd.DataFrame:
    """Select at most `most` rows: the worst, the median and the best of each subset, and a sample of the others.

    Args:
        case_metrics: Columns subset and dice; the order of the rows is kept.
        most: Largest number of rows.
        always: Number of worst rows, and of best rows, that are selected from each subset.
    """
    if len(case_metrics) <= most:
        return case_metrics
    kept: set[int] = set()
    for _, part in case_metrics.groupby("subset"):
        ranked = list(part.sort_values("dice", kind="stable").index)
        kept |= {*ranked[:always], ranked[len(ranked) // 2], *ranked[-always:]}
    sample = case_metrics.drop(index=list(kept)).sample(most - len(kept), random_state=0).index
    return case_metrics.loc[sorted(kept.union(sample))]


def view_cases(
    case_metrics: pd.DataFrame,
    groups: pd.DataFrame,
    images: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    predicted_masks: Mapping[str, np.ndarray],
) -> list[CaseView]:
    """Create the view of each sample of case_metrics, in its order.

    Args:
        case_metrics: Columns subset, case_id, sample_id, dice and iou; the index is the row in case_metrics.csv.
        groups: Columns case_id, diagnosis and lesion_size, in words.
        images: sample_id to uint8 (H, W, 3).
        masks: sample_id to uint8 (H, W), 0 or 1.
        predicted_masks: sample_id to boolean (H, W).
    """
    words = groups.set_index("case_id")
    views = []
    for case in case_metrics.itertuples():
        image, mask = images[case.sample_id], masks[case.sample_id].astype(bool)
        predicted = predicted_masks[case.sample_id].astype(bool)
        views.append(
            CaseView(
                row=case.Index,
                sample_id=case.sample_id,
                subset=case.subset,
                diagnosis=str(words.loc[case.case_id, "diagnosis"]),
                size=str(words.loc[case.case_id, "lesion_size"]),
                dice=case.dice,
                iou=case.iou,
                width=image.shape[1],
                height=image.shape[0],
                image=_encode(Image.fromarray(image), "JPEG", quality=80),
                disagreement=_encode(_paint_disagreement(predicted, mask), "PNG", transparency=0, optimize=True),
                truth=draw_path(mask),
                predicted=draw_path(predicted),
            )
        )
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
