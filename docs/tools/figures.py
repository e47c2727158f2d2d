"""Figures of the documentation that need no running program: they show the code and synthetic cases."""

import tomllib
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from lesion_segmentation.data.sources.synthetic import SyntheticCase, synthesize_case
from lesion_segmentation.evaluation.scores import score_case
from lesion_segmentation.model import NetworkMetadata, build_network
from lesion_segmentation.prediction import load_predictor
from lesion_segmentation.report.style import BLUE, GREEN, GREY, ORANGE, TRUTH, draw_contour, grid, new_figure, show

PROJECT = Path(__file__).parents[2]
INPUT_SIZE = 192, 256
"""Height and width of PH2's images in training."""


def draw_strip(numbers: Iterable[int] = (19, 23)) -> Figure:
    """Draw synthetic images, the contours of their predicted masks, and the masks."""
    predictor = load_predictor()
    figure, axes = new_figure(9, 1.45, 1, 6)
    for panels, number in zip(axes.reshape(-1, 3), numbers, strict=True):
        image = synthesize_case(number).image
        mask = predictor(image).mask
        for axis, shown, title in zip(panels, (image, image, mask), ("image", "contour", "mask"), strict=True):
            show(axis, shown, title)
        draw_contour(panels[1], mask, ORANGE)
    return figure


def draw_failures(count: int = 100, shown: int = 6) -> Figure:
    """Draw the cases with the lowest Dice among synthetic ones, with true and predicted contours."""
    predictor = load_predictor()
    rows: list[tuple[float, SyntheticCase, np.ndarray]] = []
    for case in map(synthesize_case, range(1, count + 1)):
        mask = predictor(case.image).mask
        rows.append((score_case(mask, case.mask)["dice"], case, mask))
    figure, axes = grid(shown // 3, 3, f"The released network's worst {shown} of {count} synthetic cases")
    for axis, (dice, case, mask) in zip(axes.flat, sorted(rows, key=lambda row: row[0]), strict=False):
        show(axis, case.image, f"{case.codes['case_id']}: Dice {100 * dice:.0f} (truth green, prediction orange)")
        draw_contour(axis, case.mask, TRUTH)
        draw_contour(axis, mask, ORANGE)
    return figure


def draw_network(architecture: str, width: float) -> Figure:
    """Draw the stages of a SegNet with their output shapes, which are measured, and the connections between them."""
    network = build_network(NetworkMetadata(architecture, {"width": width}))
    shapes: dict[str, tuple[int, ...]] = {}
    stages = {f"encoder {n + 1}": module for n, module in enumerate(network.encoder)}
    stages |= {"dense": network.dense} | ({"dilated context": network.context} if hasattr(network, "context") else {})
    stages |= {f"decoder {5 - n}": module for n, module in enumerate(network.decoder)} | {"head": network.head}
    for name, module in stages.items():
        module.register_forward_hook(lambda _, __, x, name=name: shapes.update({name: tuple(x.shape[1:])}))
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, *INPUT_SIZE))
    figure, axes = new_figure(10, 5.2)
    for name, (channels, height, wide) in shapes.items():
        left, bottom = _place(name)
        color = {"e": BLUE, "d": ORANGE, "h": GREY}[name[0]] if name[1:3] != "en" and "dil" not in name else GREEN
        axes.add_patch(FancyBboxPatch((left, bottom), 2.6, 0.66, "round,pad=0.04", facecolor=color, edgecolor="none"))
        text = f"{name}\n{height} x {wide} x {channels}"
        axes.text(left + 1.3, bottom + 0.33, text, ha="center", va="center", color="white", fontsize=9)
    flow = {"arrowstyle": "-|>", "color": "black", "mutation_scale": 12}
    places = [np.array(_place(name)) for name in shapes]
    for start, end in pairwise(places):
        middle, level = np.array([1.3, 0.33]), np.sign(end - start)
        axes.annotate("", end + middle - level * middle, start + middle + level * middle, arrowprops=flow)
    skips = " and encoder features" if hasattr(network, "across") else ""
    for level in range(5):
        arrow = {"arrowstyle": "-|>", "color": GREY, "linestyle": "--", "mutation_scale": 14}
        axes.annotate("", (7.3, 4.33 - level), (2.75, 4.33 - level), arrowprops=arrow)
    axes.text(5, 4.42, f"pooling indices{skips}", ha="center", fontsize=9)
    height, width = INPUT_SIZE
    axes.set_title(f"{network.title}, for an image of {height} x {width} x 3 (height x width x channels)")
    axes.set(xlim=(-0.1, 10.1), ylim=(-2.1, 5.8))
    axes.set_axis_off()
    return figure


def draw_architecture() -> Figure:
    """Draw the layers of both packages, as the import contracts of pyproject.toml name them."""
    config = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    contracts = [each for each in config["tool"]["importlinter"]["contracts"] if each["type"] == "layers"]
    figure, axes = new_figure(10, 4.6)
    for contract, left, color in zip(contracts, (5.3, 0), (BLUE, ORANGE), strict=True):
        axes.text(left + 2.3, 0.25, contract["containers"][0], ha="center", weight="bold")
        layers = [layer for layer in contract["layers"] if layer != "__main__"]
        for number, layer in enumerate(layers):
            bottom = -0.62 * (number + 1)
            axes.add_patch(FancyBboxPatch((left, bottom), 4.6, 0.46, "round,pad=0.03", facecolor=color, alpha=0.15))
            names = ", ".join(name for name in layer.split(" | ") if name != "__main__")
            axes.text(left + 2.3, bottom + 0.23, names, ha="center", va="center", fontsize=10)
    arrow = {"arrowstyle": "-|>", "color": GREY, "mutation_scale": 18}
    axes.annotate("", (5.2, -1.6), (4.7, -1.6), arrowprops=arrow)
    axes.text(4.95, -1.45, "imports", ha="center", fontsize=9)
    title = "Each layer imports only the layers below it; the library imports nothing of the Kedro project"
    axes.set_title(title, fontsize=10)
    axes.set(xlim=(-0.1, 10), ylim=(-5.2, 0.5))
    axes.set_axis_off()
    return figure


def _place(name: str) -> tuple[float, float]:
    """Return left and bottom of the box of a stage."""
    kind, _, number = name.partition(" ")
    if kind in ("encoder", "decoder") and number.isdigit():
        return (0 if kind == "encoder" else 7.4), 5.0 - int(number)
    return {"dense": (3.7, -0.9), "dilated": (3.7, -1.9), "head": (7.4, 5.0)}[kind]
