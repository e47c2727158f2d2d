"""Pipeline `cross_validation`: aggregate the folds. `kedro cross-validate` runs it after the folds."""

from kedro.pipeline import Node, Pipeline

from lesion_project.pipelines import in_namespace
from lesion_segmentation.evaluation.folds import pool_folds, summarize_folds


def create_pipeline() -> Pipeline:
    """Create cross_validation_cases and cross_validation from the case_metrics of each fold."""
    nodes = [
        Node(pool_folds, "fold_case_metrics", "cross_validation_cases#table", name="pool_folds"),
        Node(summarize_folds, "cross_validation_cases#table", "cross_validation#table", name="summarize_folds"),
    ]
    return in_namespace("cross_validation", nodes)
