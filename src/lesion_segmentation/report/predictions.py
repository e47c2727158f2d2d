"""Predictions beside the ground truth: the paper's figure 11, before and after the paper's enhancement."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lesion_segmentation.core.display_names import describe_augmentation
from lesion_segmentation.evaluation.tables import headline_subset
from lesion_segmentation.images.masks import binarize
from lesion_segmentation.report.style import PREDICTION, TRUTH, Figure, describe_data, draw_contour, grid, show


def draw_predictions(
    images: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    probabilities: Mapping[str, np.ndarray],
    case_metrics: pd.DataFrame,
) -> Figure:
    """Draw the two worst, two median and two best cases by Dice.

    These are test cases or, if none were scored, validation cases, or else training cases. Each row shows the image,
    the ground truth, the predicted mask at the threshold of case_metrics, and both contours on the image.

    Args:
        images: sample_id to uint8 (H, W, 3).
        masks: sample_id to uint8 (H, W), 0 or 1.
        probabilities: sample_id to float (H, W), 0 to 1.
        case_metrics: The table that `lesion_segmentation.evaluation.tables.score_cases` returns.
    """
    chosen = _choose_cases(images, case_metrics)
    return _draw_cases(images, masks, probabilities, chosen, "worst, median and best by Dice")


def draw_enhanced_predictions(
    images: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    probabilities: Mapping[str, np.ndarray],
    case_metrics: pd.DataFrame,
    case_metrics_enhanced: pd.DataFrame,
) -> Figure:
    """Draw the cases of `draw_predictions` at the threshold of the paper's enhancement.

    Args:
        images: As for `draw_predictions`.
        masks: As for `draw_predictions`.
        probabilities: As for `draw_predictions`.
        case_metrics: As for `draw_predictions`. It determines the cases.
        case_metrics_enhanced: Scores of the same samples at the lower threshold of the enhancement.
    """
    chosen = _choose_cases(images, case_metrics)["sample_id"]
    enhanced = case_metrics_enhanced.set_index("sample_id").loc[chosen].reset_index()
    return _draw_cases(images, masks, probabilities, enhanced, "same cases as in predictions_beside_truth")


def _choose_cases(images: Mapping[str, np.ndarray], case_metrics: pd.DataFrame) -> pd.DataFrame:
    in_subset = case_metrics[case_metrics["subset"] == headline_subset(case_metrics)]
    in_subset = in_subset[in_subset["sample_id"].isin(list(images))]
    ranked = in_subset.sort_values("dice").reset_index(drop=True)
    middle, count = len(ranked) // 2, len(ranked)
    return ranked.iloc[sorted({0, 1, middle - 1, middle, count - 2, count - 1} & set(range(count)))]


def _draw_cases(
    images: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    probabilities: Mapping[str, np.ndarray],
    chosen: pd.DataFrame,
    selection: str,
) -> Figure:
    first = chosen.iloc[0]
    title = (
        f"{first['subset'].capitalize()} subset ({describe_data(chosen, first['protocol'])}; "
        f"{describe_augmentation(first['test_time_augmentation'])}, threshold {first['threshold']:g}): {selection}"
    )
    figure, axes = grid(len(chosen), 4, title)
    for row, case in enumerate(chosen.itertuples()):
        image, mask = images[case.sample_id], masks[case.sample_id]
        predicted = binarize(probabilities[case.sample_id], case.threshold, case.keep_largest_component)
        show(axes[row, 0], image, case.sample_id)
        show(axes[row, 1], mask, "ground truth")
        show(axes[row, 2], predicted, f"predicted, Dice {100 * case.dice:.1f}")
        show(axes[row, 3], image, "truth green, predicted orange")
        draw_contour(axes[row, 3], mask, TRUTH)
        draw_contour(axes[row, 3], predicted, PREDICTION)
    return figure
