"""Figures of the data: the paper's figures 2 and 4 to 6, and a sheet of training samples."""

import numpy as np
import pandas as pd

from lesion_segmentation.core.display_names import name_source
from lesion_segmentation.data.cases import ImageSize
from lesion_segmentation.report import style
from lesion_segmentation.report.style import TRUTH, Arrays, Figure, describe_data, draw_contour, grid, new_figure, show

SUBSET_ORDER = ("development", "train", "validation", "test")


def draw_examples(images: Arrays, masks: Arrays, cases: pd.DataFrame) -> Figure:
    """Draw figure 2 of the paper: four cases of each diagnosis, spread evenly over lesion sizes, with contours."""
    groups = [group.sort_values("lesion_area") for _, group in cases.groupby("diagnosis")]
    figure, axes = grid(len(groups), 4, f"Data set: {name_source(cases)} cases; contour: ground truth")
    for row, group in enumerate(groups):
        chosen = group.iloc[np.linspace(0, len(group) - 1, min(4, len(group))).round().astype(int)]
        for column, case in enumerate(chosen.itertuples()):
            name = case.diagnosis or "diagnosis unknown"
            show(axes[row, column], images[case.case_id], f"{case.case_id}, {name}, {100 * case.lesion_area:.0f}%")
            draw_contour(axes[row, column], masks[case.case_id], TRUTH)
        for column in range(len(chosen), 4):
            axes[row, column].set_axis_off()
    return figure


def draw_loaded_image(example_images: Arrays, cases: pd.DataFrame) -> Figure:
    """Draw figure 4 of the paper: the first case at its native size, with pixels on the axes."""
    case = cases.iloc[0]
    figure, axes = new_figure(6.4, 5.2)
    axes.imshow(example_images[case["case_id"]])
    axes.set_title(f"{case['case_id']} as loaded: {case['width']} x {case['height']} ({name_source(cases)} cases)")
    axes.set(xlabel="pixels", ylabel="pixels")
    return figure


def draw_resizing(
    example_images: Arrays,
    images: Arrays,
    masks: Arrays,
    native_masks: Arrays,
    cases: pd.DataFrame,
    image_size: ImageSize,
) -> Figure:
    """Draw figure 5 of the paper: the first, smallest and largest image and mask before and after resizing."""
    chosen = cases.set_index("case_id", drop=False).loc[list(example_images)]
    figure, axes = grid(len(chosen), 4, f"Before and after resizing ({name_source(cases)} cases)")
    for panels, case in zip(axes, chosen.itertuples(), strict=True):
        small, small_mask = images[case.case_id], masks[case.case_id]
        before, after = f"{case.width} x {case.height}", f"{small.shape[1]} x {small.shape[0]}"
        show(panels[0], example_images[case.case_id], f"{case.case_id}, {before}")
        show(panels[1], small, f"{after}, {image_size.resizing}")
        show(panels[2], native_masks[case.case_id], f"mask, {before}")
        show(panels[3], small_mask, f"mask, {after}, nearest")
    return figure


def draw_split(split: pd.DataFrame, cases: pd.DataFrame) -> Figure:
    """Draw figure 6 of the paper: the number of cases in each subset, by diagnosis."""
    table = split.merge(cases[["case_id", "diagnosis"]], on="case_id").replace({"diagnosis": {"": "unknown"}})
    counts = pd.crosstab(table["subset"], table["diagnosis"])
    counts = counts.loc[[name for name in SUBSET_ORDER if name in counts.index]]
    figure, axes = new_figure(8, 4)
    width = 0.8 / len(counts)
    for number, (subset, row) in enumerate(counts.iterrows()):
        positions = np.arange(counts.shape[1]) + width * (number - (len(counts) - 1) / 2)
        color, label = style.SUBSET_COLORS[str(subset)], f"{subset} ({row.sum()})"
        axes.bar_label(axes.bar(positions, row, width, color=color, label=label))
    axes.set_xticks(np.arange(counts.shape[1]), counts.columns)
    axes.set(ylabel="cases", title=f"{len(split)} {describe_data(cases, split['protocol'].iloc[0])}")
    axes.legend()
    return figure


def draw_samples(
    sample_images: Arrays, sample_masks: Arrays, samples: pd.DataFrame, split: pd.DataFrame, cases: pd.DataFrame
) -> Figure:
    """Draw the first four training cases, one per row, with all copies of each and the contour of the mask."""
    case_ids = list(samples.loc[samples["subset"] == "train", "case_id"].unique()[:4])
    transforms = list(samples["transform"].unique())
    title = f"Training samples ({describe_data(cases, split['protocol'].iloc[0])}); contour: ground truth"
    figure, axes = grid(len(case_ids), len(transforms), title)
    for row, case_id in enumerate(case_ids):
        of_case = samples[samples["case_id"] == case_id].set_index("transform")
        for column, transform in enumerate(transforms):
            sample_id, subset = of_case.loc[transform, ["sample_id", "subset"]]
            note = "" if subset == "train" else f" ({subset})"
            show(axes[row, column], sample_images[sample_id], f"{case_id}, {transform}{note}")
            draw_contour(axes[row, column], sample_masks[sample_id], TRUTH)
    return figure
