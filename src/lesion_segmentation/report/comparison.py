"""Figure of a comparison of two runs: the cases that gained and lost most."""

import pandas as pd

from lesion_segmentation.core.display_names import describe_augmentation
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.evaluation.tables import hash_mask
from lesion_segmentation.report import style
from lesion_segmentation.report.style import TRUTH, Arrays, Figure, describe_data, draw_contour, grid, show

COLUMNS = 5


def draw_changed_cases(
    images: Arrays, masks: Arrays, baseline_masks: Arrays, candidate_masks: Arrays, changed_cases: pd.DataFrame
) -> Figure:
    """Draw the cases that gained most and those that lost most, with three contours on each image.

    `images` and `masks` are keyed by case_id, the predicted masks of the two runs by sample_id. `changed_cases` is the
    table of find_changed_cases.

    Raises:
        InputError: The masks are not those against which the runs were scored.
    """
    _require_same_masks(masks, changed_cases)
    groups = [changed_cases[changed_cases["change"] == change] for change in ("gained", "lost")]
    heights = [-(-len(group) // COLUMNS) for group in groups]
    figure, axes = grid(max(1, sum(heights)), COLUMNS, _title(changed_cases))
    for panel in axes.flat:
        panel.set_axis_off()
    for group, first in zip(groups, (0, heights[0]), strict=True):
        for panel, case in zip(axes[first:].flat, group.itertuples(), strict=False):
            dice = f"{100 * case.dice_baseline:.1f} to {100 * case.dice_candidate:.1f}"
            show(panel, images[case.case_id], f"{case.change}: {case.sample_id}, Dice {dice}")
            draw_contour(panel, masks[case.case_id], TRUTH)
            draw_contour(panel, baseline_masks[case.sample_id], style.BLUE)
            draw_contour(panel, candidate_masks[case.sample_id], style.ORANGE)
    return figure


def _title(changed_cases: pd.DataFrame) -> str:
    if changed_cases.empty:
        return "The Dice of no case differs"
    first = changed_cases.iloc[0]
    baseline, candidate = (
        describe_augmentation(first[f"test_time_augmentation_{run}"]) for run in ("baseline", "candidate")
    )
    return (
        f"{describe_data(changed_cases, first['protocol'])}: truth green, baseline ({baseline}) blue, candidate "
        f"({candidate}) orange; the cases that gained most, then those that lost most"
    )


def _require_same_masks(masks: Arrays, changed_cases: pd.DataFrame) -> None:
    changed = [
        case.case_id
        for case in changed_cases.itertuples()
        if case.case_id not in masks or hash_mask(masks[case.case_id].astype(bool)) != case.mask_hash
    ]
    if changed:
        raise InputError(
            f"The masks in 03_primary of this data root differ from those of the compared runs "
            f"({', '.join(changed[:5])}, ...). Recreate them: run `kedro run --pipelines=data_processing` with the "
            "environment of those runs."
        )
