"""What the figures share: colours, grids, pictures, annotation_styles, and the words that say what data they show.

Figures are drawn without pyplot's global state, so that two threads may draw at once.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure
else:  # enough for Kedro, which reads annotations of nodes; matplotlib is imported where something is drawn
    Axes = Figure = Any

# After Okabe and Ito, for colour-blind readers; yellow and grey darkened to 3:1 on white.
GREEN, ORANGE, BLUE, YELLOW, SKY, PINK, GREY = (
    "#009E73", "#D55E00", "#0072B2", "#B07700", "#56B4E9", "#CC79A7", "#8A8A8A",
)  # fmt: skip
TRUTH, PREDICTION = GREEN, ORANGE
SUBSET_COLORS = {"train": BLUE, "validation": YELLOW, "test": ORANGE, "development": SKY}


def describe_source(cases: pd.DataFrame) -> str:
    """For titles: "PH2 cases" or "synthetic cases"."""
    return " and ".join(f"{name} cases" for name in sorted(cases["source"].unique()))


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def grid(rows: int, columns: int, title: str, height: float = 2.6) -> tuple[Figure, np.ndarray]:
    """A figure with (rows, columns) axes for pictures, `height` inches a row."""
    figure = new_figure(3.2 * max(columns, 2), height * rows + 0.5)
    figure.suptitle(title, fontsize="medium", wrap=True)
    return figure, figure.subplots(rows, columns, squeeze=False)


def show(axes: Axes, picture: np.ndarray, title: str) -> None:
    """An image, uint8 (H, W, 3), or a mask of 0 and 1, (H, W)."""
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1 if picture.ndim == 2 else 255)
    axes.set_title(title, fontsize="small")
    axes.set_axis_off()


def outline(axes: Axes, mask: np.ndarray, color: str) -> None:
    """The border of a mask (H, W); of an empty or full one nothing."""
    if 0 < mask.mean() < 1:  # contour has nothing to draw otherwise, and warns
        axes.contour(mask, levels=[0.5], colors=[color], linewidths=1.2)
