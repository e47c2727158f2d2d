"""What the page shows of a case: the image, both annotation_styles, and where they disagree."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from contourpy import contour_generator
from PIL import Image

FALSE_POSITIVE, FALSE_NEGATIVE = (213, 94, 0), (0, 114, 178)
"""Okabe and Ito's vermilion and blue."""


@dataclass(frozen=True)
class CaseView:
    """One scored sample, ready for the template.

    Attributes:
        row: Its row in case_metrics.csv.
        image: A JPEG, base64.
        disagreement: A PNG, base64, transparent where prediction and truth agree.
        truth, predicted: The annotation_styles as SVG paths in pixels.
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
    """At most so many rows, in their order: of each subset the worst and the best, the median, and a sample."""
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
    """The samples of case_metrics, in its order.

    Args:
        case_metrics: subset, case_id, sample_id, dice, iou, ...; its index is the row in case_metrics.csv.
        groups: case_id, diagnosis and lesion_size in words.
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
                truth=trace_contour(mask),
                predicted=trace_contour(predicted),
            )
        )
    return views


def trace_contour(mask: np.ndarray) -> str:
    """The borders of a boolean (H, W) as an SVG path: x and y in pixels, a pixel's centre at half."""
    parts = []
    for line in contour_generator(z=np.pad(mask.astype(float), 1), line_type="Separate").lines(0.5):
        points = " ".join(f"{x - 0.5:g},{y - 0.5:g}" for x, y in np.asarray(line, dtype=np.float64).round(1))
        parts.append(f"M{points}Z")
    return "".join(parts)


def _paint_disagreement(predicted: np.ndarray, mask: np.ndarray) -> Image.Image:
    kinds = (predicted & ~mask).astype(np.uint8) + 2 * (~predicted & mask).astype(np.uint8)
    picture = Image.fromarray(kinds)
    picture.putpalette([255, 255, 255, *FALSE_POSITIVE, *FALSE_NEGATIVE])
    return picture


def _encode(picture: Image.Image, file_format: str, **options: object) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return base64.b64encode(buffer.getvalue()).decode()
