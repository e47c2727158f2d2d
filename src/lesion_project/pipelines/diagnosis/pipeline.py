"""Pipeline `diagnosis`: diagnose the cases of a cross-validation under the experts' and the predicted masks."""

from kedro.pipeline import Node, Pipeline

from lesion_project.pipelines import in_namespace
from lesion_project.pipelines.diagnosis import nodes
from lesion_segmentation.diagnosis.page import build_page
from lesion_segmentation.diagnosis.scores import summarize_diagnosis


def create_pipeline() -> Pipeline:
    """Create diagnosis_features, diagnosis_cases, diagnosis and diagnosis_page from the folds below the data root."""
    folds = ["fold_case_metrics", "fold_cases", "fold_images", "fold_masks", "fold_predicted_masks", "fold_networks"]
    page = ["diagnosis#table", "diagnosis_cases#table"]
    parts = [
        Node(nodes.measure_cases, folds, "diagnosis_features#table", name="measure_cases"),
        Node(nodes.diagnose_cases, "diagnosis_features#table", "diagnosis_cases#table", name="diagnose_cases"),
        Node(summarize_diagnosis, "diagnosis_cases#table", "diagnosis#table", name="summarize_diagnosis"),
        Node(build_page, page, "diagnosis_page", name="build_diagnosis_page"),
    ]
    return in_namespace("diagnosis", parts)
