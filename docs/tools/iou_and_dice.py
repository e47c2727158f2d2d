"""Figure that shows how an IoU of 92 can stand beside a Dice of 74."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lesion_segmentation.evaluation import score_case
from lesion_segmentation.paper import legacy_scores
from lesion_segmentation.paper.legacy import SMOOTH
from lesion_segmentation.paper.tables import PAPER_TABLE_II
from lesion_segmentation.report.style import BLUE, GREEN, ORANGE, draw_contour, new_figure

REPRODUCTION = Path("ledger/leaky_w100_e40_nearest_s0.csv")
"""Scores of the reproduction of the published protocol, in the folder `results`."""
HEIGHT, WIDTH = 192, 256


def draw_iou_and_dice(results: Path) -> Figure:
    """Draw a synthetic image, its scores by row, and the pairs of IoU and Dice that are possible.

    Args:
        results: The folder `results` of the repository.
    """
    mask, probabilities = _synthesize()
    legacy = legacy_scores(probabilities[None], mask[None])
    correct = score_case(probabilities > 0.5, mask)
    figure, (left, middle, right) = new_figure(11, 3.7, 1, 3, width_ratios=(1.3, 0.75, 1.2))
    _draw_image(left, mask, probabilities)
    _draw_rows(middle, mask, probabilities, legacy["iou"], correct["iou"])
    _draw_plane(right, pd.read_csv(results / REPRODUCTION))
    left.set_title(
        f"One synthetic image: correct IoU {100 * correct['iou']:.0f}, Dice {100 * correct['dice']:.0f};\n"
        f"by the paper's formulas IoU {100 * legacy['iou']:.0f}, Dice {100 * legacy['dice']:.0f}",
        fontsize="small",
    )
    return figure


def _synthesize() -> tuple[np.ndarray, np.ndarray]:
    """Return a boolean mask (H, W) and unsure probabilities of a lesion that lies ten pixels beside it."""
    mask = _signed_distance(130, 92, 74, 66) > 0
    distance = _signed_distance(140, 97, 76, 67)
    return mask, 0.1 + 0.82 / (1 + np.exp(-distance / 7))


def _signed_distance(column: float, row: float, width: float, height: float) -> np.ndarray:
    """Return roughly the distance to the border of an uneven ellipse in pixels, (H, W), positive inside."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    x, y = (columns - column) / width, (rows - row) / height
    angle = np.arctan2(y, x)
    radius = 1 + 0.08 * np.sin(3 * angle + 0.4) + 0.05 * np.sin(5 * angle + 1)
    return (radius - np.hypot(x, y)) * np.sqrt(width * height)


def _draw_image(axes: Axes, mask: np.ndarray, probabilities: np.ndarray) -> None:
    axes.imshow(probabilities, cmap="gray", vmin=0, vmax=1)
    draw_contour(axes, mask, GREEN)
    draw_contour(axes, probabilities > 0.5, ORANGE)
    axes.set(xticks=[], yticks=[])
    for name, color in (("true mask", GREEN), ("predicted mask", ORANGE)):
        axes.plot([], [], color=color, label=name)
    axes.legend(loc="lower left", fontsize="x-small", framealpha=0.9)


def _draw_rows(axes: Axes, mask: np.ndarray, probabilities: np.ndarray, mean: float, correct: float) -> None:
    overlap = (mask * probabilities).sum(axis=1)
    squares = mask.sum(axis=1) + (probabilities**2).sum(axis=1)
    score = 100 * (overlap + SMOOTH) / (squares - overlap + SMOOTH)
    axes.fill_betweenx(np.arange(HEIGHT), score, color=BLUE, alpha=0.35, linewidth=0)
    axes.plot(score, np.arange(HEIGHT), color=BLUE, linewidth=1)
    for value, color, name in ((100 * mean, BLUE, "mean of rows"), (100 * correct, GREEN, "correct IoU")):
        axes.axvline(value, color=color, linestyle="--", linewidth=1.2, label=f"{name}: {value:.0f}")
    axes.set(xlim=(60, 100), ylim=(HEIGHT, 0), xlabel="score of a row", yticks=[])
    axes.set_title("The paper's IoU: the mean over rows;\nrows without lesion score nearly 100", fontsize="small")
    axes.legend(loc="lower left", fontsize="x-small", framealpha=0.9)


def _draw_plane(axes: Axes, reproduction: pd.DataFrame) -> None:
    iou = np.linspace(0, 100, 201)
    dice = 200 * iou / (100 + iou)
    axes.fill_between(iou, iou, dice, color=GREEN, alpha=0.25, linewidth=0, label="possible: means over images")
    axes.plot(iou, dice, color=GREEN, linewidth=1.2, label="possible: one image, or pooled pixels")
    paper = 100 * PAPER_TABLE_II[["iou", "dice"]]
    axes.scatter(paper["iou"], paper["dice"], marker="X", s=45, color=ORANGE, zorder=3, label="the paper's Table II")
    test = reproduction[reproduction["subset"] == "test"].set_index("average")[["iou", "dice"]] * 100
    legacy, images, pooled = (test.loc[name] for name in ("legacy", "per_image", "pooled"))
    axes.annotate("", images, legacy, arrowprops={"arrowstyle": "<->", "color": BLUE, "shrinkA": 9, "shrinkB": 5})
    axes.scatter(*legacy, marker="o", s=130, facecolors="none", edgecolors=BLUE, linewidths=1.5, zorder=4,
                 label="reproduced network, the paper's formulas")  # fmt: skip
    axes.scatter(*zip(images, pooled, strict=True), marker="o", s=30, color=BLUE, zorder=4,
                 label="the same network, correct scores")  # fmt: skip
    axes.set(xlim=(60, 100), ylim=(50, 100), xlabel="IoU", ylabel="Dice")
    axes.set_title("No average of correct scores\nreaches the paper's rows", fontsize="small")
    axes.legend(loc="lower left", fontsize="x-small", framealpha=0.9)
