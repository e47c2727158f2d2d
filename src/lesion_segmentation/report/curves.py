"""Figures of curves: training (the paper's figures 9 and 10), metrics by epoch (its step 7) and calibration."""

import pandas as pd

from lesion_segmentation.core.display_names import describe_augmentation
from lesion_segmentation.report import style
from lesion_segmentation.report.style import GREY, SUBSET_COLORS, Figure, describe_data, new_figure

CURVE_LABELS = {"train": "train (running network, augmented batches)", "validation": "validation (averaged network)"}


def draw_curves(training_history: pd.DataFrame, cases: pd.DataFrame, split: pd.DataFrame) -> Figure:
    """Draw loss, accuracy and Dice over the epochs, on the training batches and on validation."""
    figure, panels = new_figure(13, 4, 1, 3)
    data = describe_data(cases, split["protocol"].iloc[0])
    figure.suptitle(f"Training ({data}); loss is binary cross-entropy, scores are means over images", fontsize="medium")
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
    figure, axes = new_figure(8, 4.5)
    for name, color in names.items():
        axes.plot(table["epoch"], 100 * table[name], marker="o", color=color, label=name)
    axes.set_xticks(table["epoch"])
    data = describe_data(cases, split["protocol"].iloc[0])
    axes.set_title(f"{subset.capitalize()} metrics by epoch\n({data})")
    axes.set(xlabel="epoch", ylabel="mean over images in percent")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def draw_reliability(calibration: pd.DataFrame, case_metrics: pd.DataFrame) -> Figure:
    """Draw, for each subset, the share of lesion against the predicted probability, and the pixels in each bin."""
    subsets = list(calibration["subset"].unique())
    ratios = {"sharex": True, "height_ratios": (3, 1)}
    figure, panels = new_figure(4 * len(subsets), 5, 2, len(subsets), squeeze=False, **ratios)
    first = case_metrics.iloc[0]
    data, augmentation = describe_data(case_metrics, first["protocol"]), first["test_time_augmentation"]
    figure.suptitle(f"Calibration of pixels ({data}; {describe_augmentation(augmentation)})", fontsize="medium")
    for column, subset in enumerate(subsets):
        part = calibration[calibration["subset"] == subset]
        above, below = panels[:, column]
        above.plot([0, 1], [0, 1], color=GREY)
        above.plot(part["mean_probability"], part["lesion_share"], marker="o", color=SUBSET_COLORS[subset])
        row = part.iloc[0]
        title = f"{subset} (n = {row['n']}): ECE {100 * row['ece']:.2f}%, Brier {row['brier']:.4f}"
        above.set_title(title, fontsize="medium")
        above.set(ylabel="share of lesion", ylim=(0, 1))
        below.bar(part["bin_low"], part["pixels"], part["bin_high"] - part["bin_low"], align="edge", color=GREY)
        below.set(yscale="log", xlabel="probability", ylabel="pixels", xlim=(0, 1))
    return figure
