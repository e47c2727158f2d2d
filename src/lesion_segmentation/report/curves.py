"""Figures of the training: the paper's figures 9 and 10, and its step 7 (metrics by epoch)."""

import pandas as pd

from lesion_segmentation.report import style
from lesion_segmentation.report.style import SUBSET_COLORS, Figure, describe_data, new_figure

CURVE_LABELS = {"train": "train (running network, augmented batches)", "validation": "validation (averaged network)"}


def draw_curves(training_history: pd.DataFrame, cases: pd.DataFrame, split: pd.DataFrame) -> Figure:
    """Draw loss, accuracy and Dice over the epochs, on the training batches and on validation."""
    figure = new_figure(13, 4)
    figure.suptitle(
        f"Training ({describe_data(cases, split['protocol'].iloc[0])}); "
        "loss is binary cross-entropy, scores are means over images",
        fontsize="medium",
    )
    panels = figure.subplots(1, 3)
    for axes, metric in zip(panels, ("loss", "accuracy", "dice"), strict=True):
        for subset, label in CURVE_LABELS.items():
            if f"{subset}_{metric}" in training_history:
                values = training_history[f"{subset}_{metric}"]
                axes.plot(training_history["epoch"], values, color=SUBSET_COLORS[subset], label=label)
        axes.set(xlabel="epoch", ylabel="Dice" if metric == "dice" else metric)
        axes.grid(alpha=0.3)
    panels[0].legend(fontsize="small")
    return figure


def draw_epochs(epoch_metrics: pd.DataFrame, cases: pd.DataFrame, split: pd.DataFrame) -> Figure:
    """Draw all metrics over the epochs of pick_epochs, on validation, or on train if there is no validation."""
    subset = epoch_metrics["subset"].iloc[0]
    table = epoch_metrics[epoch_metrics["subset"] == subset]
    names = {"accuracy": style.BLUE, "precision": style.YELLOW, "recall": style.PINK, "iou": style.ORANGE,
             "dice": style.GREEN}  # fmt: skip
    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    for name, color in names.items():
        axes.plot(table["epoch"], 100 * table[name], marker="o", color=color, label=name)
    axes.set_xticks(table["epoch"])
    axes.set(
        xlabel="epoch",
        ylabel="mean over images in percent",
        title=f"{subset.capitalize()} metrics by epoch\n({describe_data(cases, split['protocol'].iloc[0])})",
    )
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
