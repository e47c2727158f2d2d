"""Predictions beside the ground truth: the paper's figure 11, before and after the paper's enhancement."""

import pandas as pd

from lesion_segmentation.core.display_names import describe_augmentation
from lesion_segmentation.evaluation.tables import headline_subset
from lesion_segmentation.images.masks import binarize
from lesion_segmentation.report.style import ORANGE, TRUTH, Arrays, Figure, describe_data, draw_contour, grid, show


def draw_predictions(
    images: Arrays,
    masks: Arrays,
    probabilities: Arrays,
    case_metrics: pd.DataFrame,
    case_metrics_enhanced: pd.DataFrame | None = None,
) -> Figure:
    """Draw the two worst, two median and two best cases by Dice.

    These are test cases or, if none were scored, validation cases, or else training cases. Each row shows the image,
    the ground truth, the predicted mask at the threshold of case_metrics, and both contours on the image. If
    case_metrics_enhanced is given, the same cases are shown at its threshold. Arrays are keyed by sample_id.
    """
    chosen, selection = _choose_cases(images, case_metrics), "worst, median and best by Dice"
    if case_metrics_enhanced is not None:
        chosen = case_metrics_enhanced.set_index("sample_id").loc[chosen["sample_id"]].reset_index()
        selection = "same cases as in predictions_beside_truth"
    first = chosen.iloc[0]
    title = (
        f"{first['subset'].capitalize()} subset ({describe_data(chosen, first['protocol'])}; "
        f"{describe_augmentation(first['test_time_augmentation'])}, threshold {first['threshold']:g}): {selection}"
    )
    figure, axes = grid(len(chosen), 4, title)
    for panels, case in zip(axes, chosen.itertuples(), strict=True):
        image, mask = images[case.sample_id], masks[case.sample_id]
        predicted = binarize(probabilities[case.sample_id], case.threshold, case.keep_largest_component)
        show(panels[0], image, case.sample_id)
        show(panels[1], mask, "ground truth")
        show(panels[2], predicted, f"predicted, Dice {100 * case.dice:.1f}")
        show(panels[3], image, "truth green, predicted orange")
        draw_contour(panels[3], mask, TRUTH)
        draw_contour(panels[3], predicted, ORANGE)
    return figure


def _choose_cases(images: Arrays, case_metrics: pd.DataFrame) -> pd.DataFrame:
    in_subset = case_metrics[case_metrics["subset"] == headline_subset(case_metrics)]
    in_subset = in_subset[in_subset["sample_id"].isin(list(images))]
    ranked = in_subset.sort_values("dice").reset_index(drop=True)
    middle, count = len(ranked) // 2, len(ranked)
    return ranked.iloc[sorted({0, 1, middle - 1, middle, count - 2, count - 1} & set(range(count)))]
