"""Figures, drawn without pyplot's global state so that two threads may draw at once."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers tell apart.
TRUTH, PREDICTION, TRAIN, VALIDATION = "#009E73", "#D55E00", "#0072B2", "#E69F00"


def draw_samples(
    sample_images: Mapping[str, np.ndarray],
    sample_masks: Mapping[str, np.ndarray],
    samples: pd.DataFrame,
    cases: pd.DataFrame,
) -> Figure:
    """A sheet of the first four training cases, one a row, with every copy made of them and the mask's outline."""
    train = samples[samples["subset"] == "train"]
    case_ids = list(train["case_id"].unique()[:4])
    transforms = list(train["transform"].unique())
    figure, axes = _grid(len(case_ids), len(transforms), f"Training samples ({_source(cases)}), outline: ground truth")
    for row, case_id in enumerate(case_ids):
        of_case = train[train["case_id"] == case_id].set_index("transform")["sample_id"]
        for column, transform in enumerate(transforms):
            sample_id = of_case[transform]
            _show(axes[row, column], sample_images[sample_id], f"{case_id}, {transform}")
            _outline(axes[row, column], sample_masks[sample_id], TRUTH)
    return figure


def draw_curves(training_history: pd.DataFrame, cases: pd.DataFrame) -> Figure:
    """Loss, accuracy and Dice over the epochs, on train (running, augmented batches) and on validation."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    figure.suptitle(f"Training ({_source(cases)}); loss is binary cross-entropy, scores are means over images")
    panels = np.atleast_1d(figure.subplots(1, 3))
    for axes, metric in zip(panels, ("loss", "accuracy", "dice"), strict=True):
        for subset, color, label in (
            ("train", TRAIN, "train (running network, augmented batches)"),
            ("validation", VALIDATION, "validation (averaged network)"),
        ):
            if f"{subset}_{metric}" in training_history:
                axes.plot(training_history["epoch"], training_history[f"{subset}_{metric}"], color=color, label=label)
        axes.set(xlabel="epoch", ylabel=metric.capitalize() if metric == "dice" else metric)
        axes.grid(alpha=0.3)
    panels[0].legend(fontsize="small")
    return figure


def draw_predictions(
    images: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    predicted_masks: Mapping[str, np.ndarray],
    case_metrics: pd.DataFrame,
) -> Figure:
    """The worst, the median and the best two cases by Dice, of the test cases where they are scored.

    A row a case: image, ground truth, predicted mask, both outlines on the image.
    """
    subset = next(name for name in ("test", "validation", "train") if (case_metrics["subset"] == name).any())
    ranked = case_metrics[case_metrics["subset"] == subset].sort_values("dice").reset_index(drop=True)
    middle = len(ranked) // 2
    chosen = ranked.iloc[sorted({0, 1, middle - 1, middle, len(ranked) - 2, len(ranked) - 1} & set(range(len(ranked))))]
    title = (
        f"{subset.capitalize()} cases ({chosen['source'].iloc[0]}; prediction: {chosen['prediction'].iloc[0]}): "
        "worst, median and best by Dice"
    )
    figure, axes = _grid(len(chosen), 4, title)
    for row, case in enumerate(chosen.itertuples()):
        image, mask, predicted = images[case.case_id], masks[case.case_id], predicted_masks[case.case_id]
        _show(axes[row, 0], image, case.case_id)
        _show(axes[row, 1], mask, "ground truth")
        _show(axes[row, 2], predicted, f"predicted, Dice {100 * case.dice:.1f}")
        _show(axes[row, 3], image, "truth green, predicted orange")
        _outline(axes[row, 3], mask, TRUTH)
        _outline(axes[row, 3], predicted, PREDICTION)
    return figure


def _source(cases: pd.DataFrame) -> str:
    return " and ".join(f"{name} cases" for name in sorted(cases["source"].unique()))


def _grid(rows: int, columns: int, title: str) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(3.2 * max(columns, 2), 2.6 * rows + 0.5), layout="constrained")
    figure.suptitle(title)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _show(axes: Axes, picture: np.ndarray, title: str) -> None:
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1 if picture.ndim == 2 else 255)
    axes.set_title(title, fontsize="small")
    axes.set_axis_off()


def _outline(axes: Axes, mask: np.ndarray, color: str) -> None:
    if 0 < mask.mean() < 1:  # contour has nothing to draw otherwise, and warns
        axes.contour(mask, levels=[0.5], colors=[color], linewidths=1.2)
