"""Reliability diagram."""

import pandas as pd

from lesion_segmentation.core.display_names import describe_augmentation
from lesion_segmentation.report.style import GREY, SUBSET_COLORS, Figure, describe_data, new_figure


def draw_reliability(calibration: pd.DataFrame, case_metrics: pd.DataFrame) -> Figure:
    """Draw, for each subset, the share of lesion against the predicted probability, and the pixels in each bin."""
    subsets = list(calibration["subset"].unique())
    figure = new_figure(4 * len(subsets), 5)
    first = case_metrics.iloc[0]
    figure.suptitle(
        f"Calibration of pixels ({describe_data(case_metrics, first['protocol'])}; "
        f"{describe_augmentation(first['test_time_augmentation'])})",
        fontsize="medium",
    )
    panels = figure.subplots(2, len(subsets), squeeze=False, sharex=True, height_ratios=(3, 1))
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
