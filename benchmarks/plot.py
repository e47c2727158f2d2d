"""Plot of the ratios. Smaller is better; 1 is the time of the arithmetic at the rate of a matrix multiply."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lesion_segmentation.report.style import BLUE, GREY, ORANGE

_BARS = {
    ("segnet", "training"): ("SegNet-v2, training", ORANGE),
    ("monai_unet", "training"): ("MONAI U-Net, training", GREY),
    ("segnet", "inference"): ("SegNet-v2, inference", BLUE),
}


def plot_ratios(speed: pd.DataFrame) -> Figure:
    """Plot the table of `speed.add_ratios` with one group of bars for each width and batch size."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    groups = [(width, batch) for width in sorted(speed["width"].unique()) for batch in sorted(speed["batch"].unique())]
    for number, ((network, task), (label, color)) in enumerate(_BARS.items()):
        selected = speed[(speed["network"] == network) & (speed["task"] == task)].set_index(["width", "batch"])
        positions = np.arange(len(groups)) + (number - 1) * 0.27
        bars = axes.bar(positions, selected.loc[groups, "ratio"], 0.25, label=label, color=color)
        axes.bar_label(bars, fmt="%.2f", fontsize="x-small")
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xticks(range(len(groups)), [f"width {width:g}\nbatch {batch}" for width, batch in groups])
    axes.set_ylabel("time / arithmetic at the multiply rate")
    axes.legend(fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
