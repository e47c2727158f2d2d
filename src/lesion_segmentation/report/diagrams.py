"""Diagrams of the data flow and of the network's layers (the paper's figures 1 and 3)."""

from itertools import combinations

import pandas as pd

from lesion_segmentation.report.style import BLUE, GREEN, GREY, ORANGE, PINK, SKY, YELLOW, Axes, Figure, new_figure

KIND_COLORS = {"convolution": BLUE, "batch norm": SKY, "pooling": ORANGE, "dense": PINK, "unpooling": GREEN}
_BOX, _GAP, _ROW, _FONT, _LETTERS = 5.0, 2.0, 0.42, 7, 48
"""Box width, gap between boxes and row height in axis units; font size in points; letters that fit into a box."""


def draw_network(architecture: pd.DataFrame) -> Figure:
    """Draw every numbered layer as a bar that is taller for a larger output, and the output shape of each stage.

    Args:
        architecture: Columns number (empty for activations), kind and output_shape ("h x w x c").
    """
    layers = architecture[architecture["number"].notna()].reset_index(drop=True)
    shapes, numbering = layers["output_shape"], {"rotation": 90, "ha": "center", "va": "center", "color": "white"}
    sizes = shapes.str.split(" x ", expand=True)[0].astype(int)
    figure, axes = new_figure(17, 5)
    for row in layers.itertuples():
        height = 0.6 + 2.4 * (sizes[row.Index] / sizes.max()) ** 0.5
        axes.bar(row.Index + 0.5, height, 0.8, -height / 2, color=KIND_COLORS.get(row.kind, GREY))
        axes.text(row.Index + 0.5, 0, f"{row.number:.0f}", fontsize=7, **numbering)
    for _, stage in shapes.groupby((shapes != shapes.shift()).cumsum()):
        middle = (stage.index[0] + stage.index[-1] + 1) / 2
        axes.text(middle, -1.7, stage.iloc[0], rotation=60, ha="right", va="top", fontsize=7)
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
    pipelines = [part for _, part in steps.groupby("pipeline", sort=False)]
    lefts = [number * (_BOX + _GAP) for number in range(len(pipelines))]
    bottoms = [-_ROW * (len(part) + 1.4) for part in pipelines]
    inputs, outputs = ([set(part[column].explode().dropna()) for part in pipelines] for column in ("inputs", "outputs"))
    figure, axes = new_figure(17, 8.5)
    for part, left, bottom in zip(pipelines, lefts, bottoms, strict=True):
        _draw_pipeline(axes, part, left, bottom)
    _arrow(axes, (-_GAP, -1), (0, -1), sorted(inputs[0].difference(*outputs)))
    depth = 0.8 - min(bottoms)
    for source, target in combinations(range(len(pipelines)), 2):
        passed = sorted(outputs[source] & inputs[target])
        if passed and target == source + 1:
            _arrow(axes, (lefts[source] + _BOX, -1), (lefts[target], -1), passed)
        elif passed:
            shift = 0.2 * source  # keeps arrows into the same box apart
            start = (lefts[source] + _BOX / 2 + shift, bottoms[source])
            end = (lefts[target] + _BOX / 2 - shift, bottoms[target])
            _detour(axes, start, end, -depth, passed)
            depth += 0.7
    axes.set(xlim=(-_GAP - 0.2, len(pipelines) * (_BOX + _GAP) - _GAP + 0.2), ylim=(-depth + 0.4, 0.3))
    axes.set_title("Data flow through the registered pipelines")
    axes.set_axis_off()
    return figure


def _draw_pipeline(axes: Axes, steps: pd.DataFrame, left: float, bottom: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    box = FancyBboxPatch((left, bottom), _BOX, -bottom, boxstyle="round,pad=0.05", facecolor="#f5f5f5", edgecolor=BLUE)
    axes.add_patch(box)
    name = steps["pipeline"].iloc[0]
    axes.text(left + _BOX / 2, -_ROW / 2, name, ha="center", va="center", weight="bold")
    for number, step in enumerate(steps.itertuples(), start=1):
        text = f"{step.step}  →  {', '.join(name for name in step.outputs if name != step.step)}"
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
