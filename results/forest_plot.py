"""Draw the 95% CIs of the models. `make docs-images` writes the figure to docs/images/forest_plot.svg."""

from typing import Any

import benchmark_table as table
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lesion_segmentation.report.style import BLUE, GREEN, ORANGE

WIDTH = 7.9
"""Inches: 760 pixels at the resolution of a browser."""
BASELINES = ("otsu", "mean_mask")
"""Models without a network, whose Dice of 65 would compress the axis."""
SERIES = {
    table.ALL: ("200 cases, five folds", BLUE, "o"),
    table.HELD_OUT: ("120 of them, held out", ORANGE, "s"),
}


def draw() -> Figure:
    """Draw the mean Dice of each model and recipe in results/models.csv, with test-time augmentation and 95% CI."""
    scores = table.read_summary("models")
    models = [model for model in table.MODELS if model.name not in BASELINES]
    sizes = [len(models), len(table.RECIPES)]
    with rc_context({"font.size": 10}):
        figure = Figure(figsize=(WIDTH, 0.33 * sum(sizes) + 1.6), layout="constrained", facecolor="white")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=sizes)
        for position, model in enumerate(models):
            rows = table.find_rows(scores, model.name)
            shown = [(rows[cases], *style) for cases, style in SERIES.items() if cases in rows]
            for number, (row, label, color, marker) in enumerate(shown):
                _draw_interval(upper, position + 0.3 * (number - 0.5 * (len(shown) - 1)), row, color, marker, label)
        for position, recipe in enumerate(table.RECIPES):
            row = table.find_rows(scores, recipe.name)[table.PAPER_CASES]
            _draw_interval(lower, position, row, GREEN, "D", "_")
        _label(upper, [f"{model.description} ({model.name})" for model in models], "Five-fold cross-validation")
        handles, labels = upper.get_legend_handles_labels()
        upper.legend(handles[::-1], labels[::-1], loc="center left", frameon=False)
        _label(lower, [recipe.description.replace("`", "") for recipe in table.RECIPES], "The paper's 50 test cases")
        lower.set_xlabel("mean Dice in percent, with its 95% CI over cases")
    return figure


def _draw_interval(axes: Axes, position: float, row: Any, color: str, marker: str, label: str) -> None:
    mean, low, high = (100 * row[name] for name in ("dice", "dice_low", "dice_high"))
    known = axes.get_legend_handles_labels()[1]
    axes.errorbar(
        mean, position, xerr=[[mean - low], [high - mean]], color=color, marker=marker, markersize=5, capsize=2.5,
        linewidth=1.6, label="_" if label in known else label,
    )  # fmt: skip


def _label(axes: Axes, names: list[str], title: str) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_title(title, loc="left", fontsize="medium", weight="bold")
    axes.grid(axis="x", color="#DDDDDD")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
