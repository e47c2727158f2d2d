"""The page of a comparison: which cases gained and which lost."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lesion_segmentation.core.display_names import name_source
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.splits import describe_protocol
from lesion_segmentation.evaluation.tables import hash_mask
from lesion_segmentation.report.style import BLUE, ORANGE, TRUTH, Figure, grid, outline, show

COLUMNS = 5


def draw_changed_cases(
    images: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    baseline_masks: Mapping[str, np.ndarray],
    candidate_masks: Mapping[str, np.ndarray],
    changed_cases: pd.DataFrame,
) -> Figure:
    """The cases that gained most, then those that lost most, with three annotation_styles on each image.

    Args:
        images: case_id to uint8 (H, W, 3).
        masks: case_id to uint8 (H, W), 0 or 1.
        baseline_masks: sample_id to boolean (H, W), predicted by the baseline.
        candidate_masks: The same by the candidate.
        changed_cases: As find_changed_cases gives them.
    """
    _require_same_masks(masks, changed_cases)
    groups = [changed_cases[changed_cases["change"] == change] for change in ("gained", "lost")]
    heights = [-(-len(group) // COLUMNS) for group in groups]
    figure, axes = grid(max(1, sum(heights)), COLUMNS, _title(changed_cases))
    for panel in axes.flat:
        panel.set_axis_off()
    for group, first in zip(groups, (0, heights[0]), strict=True):
        for place, case in enumerate(group.itertuples()):
            panel = axes[first + place // COLUMNS, place % COLUMNS]
            dice = f"{100 * case.dice_baseline:.1f} to {100 * case.dice_candidate:.1f}"
            show(panel, images[case.case_id], f"{case.change}: {case.sample_id}, Dice {dice}")
            outline(panel, masks[case.case_id], TRUTH)
            outline(panel, baseline_masks[case.sample_id], BLUE)
            outline(panel, candidate_masks[case.sample_id], ORANGE)
    return figure


def _title(changed_cases: pd.DataFrame) -> str:
    if changed_cases.empty:
        return "No case differs"
    first = changed_cases.iloc[0]
    return (
        f"{name_source(changed_cases)} cases, {describe_protocol(first['protocol'])}: truth green, baseline "
        f"(test-time augmentation: {first['test_time_augmentation_baseline']}) blue, candidate "
        f"({first['test_time_augmentation_candidate']}) orange; first the cases that gained most, then those that lost"
    )


def _require_same_masks(masks: Mapping[str, np.ndarray], changed_cases: pd.DataFrame) -> None:
    """The pictures at hand must be those that the runs scored."""
    other = [
        case.case_id
        for case in changed_cases.itertuples()
        if case.case_id not in masks or hash_mask(masks[case.case_id].astype(bool)) != case.mask_hash
    ]
    if other:
        raise InputError(
            f"03_primary of this data root holds other cases or sizes than those runs scored "
            f"({', '.join(other[:5])}, ...). Make them again: kedro run --pipelines=data_processing with those runs' "
            "environment."
        )
