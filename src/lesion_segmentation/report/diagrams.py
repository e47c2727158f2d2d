"""Diagrams of the data flow and of the network's layers (the paper's figures 1 and 3)."""

from itertools import pairwise

import pandas as pd

from lesion_segmentation.report.style import BLUE, GREEN, GREY, ORANGE, PINK, SKY, YELLOW, Axes, Figure, new_figure

KIND_COLORS = {
    "convolution": BLUE,
    "batch norm": SKY,
    "pooling": ORANGE,
    "dense": PINK,
    "unpooling": GREEN,
}
_BOX, _GAP, _ROW, _FONT, _LETTERS = 5.0, 2.0, 0.42, 7, 48
"""Box width, gap between boxes and row height in axis units; font size in points; letters that fit into a box."""


def draw_network(architecture: pd.DataFrame) -> Figure:
    """Draw every numbered layer as a bar that is taller for a larger output, and the output shape of each stage.

    Args:
        architecture: Columns number (empty for activations), kind and output_shape ("h x w x c").
    """
    layers = architecture[architecture["number"].notna()].reset_index(drop=True)
    sizes = layers["output_shape"].str.split(" x ", expand=True).astype(int)
    figure = new_figure(17, 5)
    axes = figure.subplots()
    for row in layers.itertuples():
        height = 0.6 + 2.4 * (sizes[0][row.Index] / sizes[0].max()) ** 0.5
        color = KIND_COLORS.get(row.kind, GREY)
        axes.bar(row.Index + 0.5, height, 0.8, -height / 2, color=color)
        axes.text(
            row.Index + 0.5, 0, f"{row.number:.0f}", ha="center", va="center", fontsize=7, rotation=90, color="white"
        )
    starts = [0, *(i for i in layers.index[1:] if layers["output_shape"][i] != layers["output_shape"][i - 1])]
    for start, end in pairwise([*starts, len(layers)]):
        middle = (start + end) / 2
        axes.text(middle, -1.7, layers["output_shape"][start], rotation=60, ha="right", va="top", fontsize=7)
    for kind, color in KIND_COLORS.items():
        axes.bar(0, 0, color=color, label=f"{kind} ({(layers['kind'] == kind).sum()})")
    axes.legend(loc="upper center", ncols=len(KIND_COLORS), frameon=False)
    axes.set(xlim=(-1, len(layers) + 1), ylim=(-3.4, 2.4))
    axes.set_title(f"The network's {len(layers)} layers without activations; below: output shape (h x w x c)")
    axes.set_axis_off()
    return figure


def draw_flow(steps: pd.DataFrame) -> Figure:
    """Draw the pipelines from left to right with their steps and outputs; arrows carry the names of shared datasets.

    Args:
        steps: Columns pipeline, step, inputs and outputs (lists of dataset names), in the order of execution.
    """
    names = list(dict.fromkeys(steps["pipeline"]))
    lefts = {name: number * (_BOX + _GAP) for number, name in enumerate(names)}
    bottoms = {name: -_ROW * (count + 1.4) for name, count in steps["pipeline"].value_counts().items()}
    figure = new_figure(17, 8.5)
    axes = figure.subplots()
    for name in names:
        _draw_pipeline(axes, name, steps[steps["pipeline"] == name], lefts[name], bottoms[name])
    inputs = {name: _datasets(steps[steps["pipeline"] == name], "inputs") for name in names}
    outputs = {name: _datasets(steps[steps["pipeline"] == name], "outputs") for name in names}
    raw = sorted(inputs[names[0]] - _datasets(steps, "outputs"))
    _arrow(axes, (-_GAP, -1), (0, -1), raw)
    depth = 0.8 - min(bottoms.values())
    for number, source in enumerate(names):
        for target in names[number + 1 :]:
            passed = sorted(outputs[source] & inputs[target])
            if passed and target == names[number + 1]:
                _arrow(axes, (lefts[source] + _BOX, -1), (lefts[target], -1), passed)
            elif passed:
                shift = 0.2 * number  # keeps arrows into the same box apart
                start = (lefts[source] + _BOX / 2 + shift, bottoms[source])
                end = (lefts[target] + _BOX / 2 - shift, bottoms[target])
                _detour(axes, start, end, -depth, passed)
                depth += 0.7
    axes.set(xlim=(-_GAP - 0.2, len(names) * (_BOX + _GAP) - _GAP + 0.2), ylim=(-depth + 0.4, 0.3))
    axes.set_title("Data flow through the registered pipelines")
    axes.set_axis_off()
    return figure


def _draw_pipeline(axes: Axes, name: str, steps: pd.DataFrame, left: float, bottom: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(
        FancyBboxPatch((left, bottom), _BOX, -bottom, boxstyle="round,pad=0.05", facecolor="#f5f5f5", edgecolor=BLUE)
    )
    axes.text(left + _BOX / 2, -_ROW / 2, name, ha="center", va="center", weight="bold")
    for number, step in enumerate(steps.itertuples(), start=1):
        outputs = ", ".join(name for name in step.outputs if name != step.step)
        text = f"{step.step}  →  {outputs}"
        axes.text(left + 0.1, -_ROW * (number + 0.6), text, va="center", fontsize=_FONT * min(1, _LETTERS / len(text)))


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], passed: list[str]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "mutation_scale": 16, "color": ORANGE})
    axes.text((start[0] + end[0]) / 2, start[1] + 0.08, "\n".join(passed), ha="center", va="bottom", fontsize=_FONT)


def _detour(axes: Axes, start: tuple[float, float], end: tuple[float, float], depth: float, passed: list[str]) -> None:
    """Draw an arrow below the boxes, from the bottom of one box to the bottom of another."""
    axes.plot([start[0], start[0], end[0]], [start[1], depth, depth], color=YELLOW, zorder=0)
    upward = {"arrowstyle": "-|>", "mutation_scale": 16, "color": YELLOW, "shrinkA": 0}
    axes.annotate("", end, (end[0], depth), arrowprops=upward, zorder=0)
    axes.text((start[0] + end[0]) / 2, depth + 0.06, ", ".join(passed), ha="center", va="bottom", fontsize=_FONT)


def _datasets(steps: pd.DataFrame, column: str) -> set[str]:
    return {name for names in steps[column] for name in names}
