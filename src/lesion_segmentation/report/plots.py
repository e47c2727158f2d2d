"""Plotly plots of the report page, as HTML that needs plotly.js."""

import pandas as pd
import plotly.graph_objects as go

from lesion_segmentation.report.curves import CURVE_LABELS
from lesion_segmentation.report.style import BLUE, GREY, ORANGE, SUBSET_COLORS

DASHES = {"train": "solid", "validation": "dash", "test": "dot"}
_LAYOUT = {"template": "plotly_white", "margin": {"l": 50, "r": 20, "t": 40, "b": 40}, "height": 360,
           "legend": {"orientation": "h", "y": -0.25}}  # fmt: skip


def plot_curves(training_history: pd.DataFrame) -> str:
    """Plot loss, accuracy and Dice over the epochs in three plots, which a narrow screen shows below each other."""
    titles = {"loss": "loss (binary cross-entropy)", "accuracy": "accuracy", "dice": "Dice"}
    return "".join(_plot_curve(training_history, metric, title) for metric, title in titles.items())


def _plot_curve(training_history: pd.DataFrame, metric: str, title: str) -> str:
    figure = go.Figure()
    for subset, label in CURVE_LABELS.items():
        if f"{subset}_{metric}" in training_history:
            figure.add_scatter(x=training_history["epoch"], y=training_history[f"{subset}_{metric}"], name=label,
                               line={"color": SUBSET_COLORS[subset], "dash": DASHES[subset]})  # fmt: skip
    return _to_html(figure.update_layout(title=title, xaxis_title="epoch", showlegend=True, **_LAYOUT))


def plot_thresholds(threshold_sweep: pd.DataFrame, marked: dict[float, str]) -> str:
    """Plot the mean IoU against the threshold and mark some thresholds by name."""
    subset = threshold_sweep["subset"].iloc[0]
    figure = go.Figure()
    figure.add_scatter(x=threshold_sweep["threshold"], y=threshold_sweep["iou"], name="IoU", line_color=BLUE)
    for position, (threshold, name) in enumerate(marked.items()):
        figure.add_vline(threshold, line_dash="dash", line_color=ORANGE, annotation_text=name,
                         annotation_position="top right", annotation_yshift=-18 * position)  # fmt: skip
    figure.update_layout(xaxis_title="threshold", yaxis_title=f"mean IoU on {subset}", **_LAYOUT)
    return _to_html(figure)


def plot_reliability(calibration: pd.DataFrame) -> str:
    """Plot the share of lesion against the predicted probability, one line per subset."""
    figure = go.Figure()
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line_color=GREY, name="perfect calibration")
    for subset, part in calibration.groupby("subset", sort=False):
        name = f"{subset}: ECE {100 * part['ece'].iloc[0]:.2f}%, Brier {part['brier'].iloc[0]:.4f}"
        figure.add_scatter(x=part["mean_probability"], y=part["lesion_share"], mode="lines+markers", name=name,
                           line={"color": SUBSET_COLORS[str(subset)], "dash": DASHES[str(subset)]})  # fmt: skip
    figure.update_layout(xaxis_title="probability", yaxis_title="share of lesion", **_LAYOUT)
    return _to_html(figure)


def _to_html(figure: go.Figure) -> str:
    config = {"displayModeBar": False, "responsive": True}
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config=config))
