"""The page of a comparison: which cases gained and which lost."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lesion_segmentation.report.canvas import BLUE, ORANGE, TRUTH, grid, outline, show

COLUMNS = 5


def draw_changed_cases(
    images: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    baseline_masks: Mapping[str, np.ndarray],
    candidate_masks: Mapping[str, np.ndarray],
    changed_cases: pd.DataFrame,
) -> Figure:
    """The cases that gained most, then those that lost most, with three outlines on each image.

    Args:
        images: case_id to uint8 (H, W, 3).
        masks: case_id to uint8 (H, W), 0 or 1.
        baseline_masks: sample_id to boolean (H, W), predicted by the baseline.
        candidate_masks: The same by the candidate.
        changed_cases: As find_changed_cases gives them.
    """
    groups = [changed_cases[changed_cases["change"] == change] for change in ("gained", "lost")]
    heights = [-(-len(group) // COLUMNS) for group in groups]
    title = (
        "Ground truth green, baseline blue, candidate orange; first the cases that gained most, then those that lost"
    )
    figure, axes = grid(max(1, sum(heights)), COLUMNS, title)
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
