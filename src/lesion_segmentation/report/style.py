"""Colours, grids, images, contours and title texts that the figures share.

Figures do not use pyplot's global state, so that several threads can draw at once.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lesion_segmentation.core.display_names import name_source
from lesion_segmentation.data.splits import describe_protocol

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure
else:  # Kedro evaluates the annotations of nodes; matplotlib is imported only to draw a figure
    Axes = Figure = Any

Arrays = Mapping[str, np.ndarray]
"""case_id or sample_id to image, uint8 (H, W, 3), mask of 0 and 1, (H, W), or probabilities, (H, W)."""

# Okabe and Ito's palette for colour-blind readers; yellow and grey are darkened to a contrast of 3:1 on white.
GREEN, ORANGE, BLUE, YELLOW, SKY, PINK, GREY = (
    "#009E73", "#D55E00", "#0072B2", "#B07700", "#56B4E9", "#CC79A7", "#8A8A8A",
)  # fmt: skip
TRUTH = GREEN
SUBSET_COLORS = {"train": BLUE, "validation": YELLOW, "test": ORANGE, "development": SKY}


def describe_data(table: pd.DataFrame, protocol: str) -> str:
    """Return data source and split protocol for a title, such as "PH2 cases, split paper"."""
    return f"{name_source(table)} cases, {describe_protocol(protocol)}"


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """Create a figure of this size in inches and its axes, as `matplotlib.pyplot.subplots` does."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def grid(rows: int, columns: int, title: str) -> tuple[Figure, np.ndarray]:
    """Create a figure and its axes, (rows, columns), for images."""
    figure, axes = new_figure(3.2 * max(columns, 2), 2.6 * rows + 0.5, rows, columns, squeeze=False)
    figure.suptitle(title, fontsize="medium", wrap=True)
    return figure, axes


def show(axes: Axes, image: np.ndarray, title: str) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=1 if image.ndim == 2 else 255)
    axes.set_title(title, fontsize="small")
    axes.set_axis_off()


def draw_contour(axes: Axes, mask: np.ndarray, color: str) -> None:
    """Draw the contour of a mask (H, W), which an empty or full mask does not have."""
    if 0 < mask.mean() < 1:  # otherwise contour warns that there is no line
        axes.contour(mask, levels=[0.5], colors=[color], linewidths=1.2)
