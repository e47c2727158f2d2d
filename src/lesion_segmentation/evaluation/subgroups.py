"""Scores of subgroups of cases, by annotations, lesion size, contact with the image border, and annotation style."""

from itertools import pairwise

import pandas as pd

from lesion_segmentation.evaluation.intervals import mean_rows
from lesion_segmentation.evaluation.tables import headline_subset, originals

TOO_FEW = 8
"""Smallest number of cases for which a group gets a score."""
SIZE_EDGES = (0.0, 0.15, 0.30, 0.50, 1.0)
GROUPINGS = ("diagnosis", "asymmetry", "number_of_colors", "blue_whitish_veil", "regression_areas", "lesion_size",
             "touches_border", "annotation_style")  # fmt: skip


def score_subgroups(case_metrics: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Compute the mean Dice and IoU of each group of the test cases, or of the last subset that was scored.

    Args:
        case_metrics: Columns subset, case_id, sample_id, dice and iou.
        cases: Columns case_id, lesion_area, touches_border, and the annotations in words (empty if unknown).

    Returns:
        Columns subset, grouping, group, n, dice, dice_low, dice_high, iou, iou_low and iou_high: means with their
        95% CIs, as fractions. The scores are empty for groups of fewer than TOO_FEW cases.
    """
    subset = headline_subset(case_metrics)
    part = originals(case_metrics[case_metrics["subset"] == subset])
    table = part[["case_id", "dice", "iou"]].merge(describe_groups(cases), on="case_id")
    rows = []
    for grouping in [name for name in GROUPINGS if name in table]:
        for group, members in table.groupby(grouping, sort=True, observed=True):
            row: dict[str, object] = {"subset": subset, "grouping": grouping, "group": str(group), "n": len(members)}
            if len(members) >= TOO_FEW:
                for mean in mean_rows(members[["dice", "iou"]], "mean"):
                    score = mean["metric"]
                    row |= {score: mean["mean"], f"{score}_low": mean["low"], f"{score}_high": mean["high"]}
            rows.append(row)
    columns = ["subset", "grouping", "group", "n", "dice", "dice_low", "dice_high", "iou", "iou_low", "iou_high"]
    return pd.DataFrame(rows).reindex(columns=columns)


def describe_groups(cases: pd.DataFrame) -> pd.DataFrame:
    """Return case_id and, for each of GROUPINGS that the data have, the case's group in words."""
    annotations = ("diagnosis", "asymmetry", "blue_whitish_veil", "regression_areas", "annotation_style")
    known = [name for name in annotations if name in cases]
    groups = cases[["case_id"]].assign(**{name: cases[name].replace("", "not annotated") for name in known})
    if "colors" in cases:
        counts = cases["colors"].map(lambda text: str(len(text.split(", "))) if text else "not annotated")
        groups = groups.assign(number_of_colors=counts)
    percent = [f"{100 * low:.0f} to {100 * high:.0f}%" for low, high in pairwise(SIZE_EDGES)]
    return groups.assign(
        lesion_size=pd.cut(cases["lesion_area"], SIZE_EDGES, labels=percent, include_lowest=True),
        touches_border=cases["touches_border"].map({True: "yes", False: "no"}),
    )
