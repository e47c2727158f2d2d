"""Pipeline `comparison`: compare two MLflow runs case by case."""

from kedro.pipeline import Node, Pipeline

from lesion_project.pipelines import in_namespace
from lesion_segmentation.evaluation.comparison import compare_runs, find_changed_cases, pair_cases
from lesion_segmentation.report.comparison import draw_changed_cases


def create_pipeline() -> Pipeline:
    """Create comparison, changed_cases and changed_cases_page from the artifacts of two runs, images and masks."""
    runs = ["baseline_case_metrics", "candidate_case_metrics"]
    shown = ["images", "masks", "baseline_predicted_masks", "candidate_predicted_masks", "changed_cases#table"]
    nodes = [
        Node(pair_cases, runs, "paired_cases#table", name="pair_cases"),
        Node(compare_runs, "paired_cases#table", "comparison#table", name="compare_runs"),
        Node(find_changed_cases, "paired_cases#table", "changed_cases#table", name="find_changed_cases"),
        Node(draw_changed_cases, shown, "changed_cases_page#figure", name="draw_changed_cases"),
    ]
    return in_namespace("comparison", nodes)
