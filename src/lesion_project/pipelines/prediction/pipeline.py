"""Pipeline `prediction` of `kedro predict`."""

from kedro.pipeline import Node, Pipeline

from lesion_project.pipelines import in_namespace
from lesion_project.pipelines.prediction import nodes
from lesion_segmentation.prediction.truth import score_images, summarize_scores


def create_pipeline(with_truth: bool = False) -> Pipeline:
    """Create the pipeline input_images -> predictions -> prediction_counts; with true masks also -> image_scores."""
    inputs = ["trained_networks", "input_images", "prediction_target", "params:prediction"]
    predict = [
        Node(nodes.predict_input_images, inputs, "predictions", name="predict_input_images"),
        Node(nodes.count_predictions, "predictions", "prediction_counts", name="count_predictions"),
    ]
    score = [
        Node(score_images, ["predictions", "true_masks"], "image_scores", name="score_images"),
        Node(summarize_scores, "image_scores", "image_score_summary", name="summarize_scores"),
        Node(nodes.list_scores, "image_score_summary", "prediction_scores", name="list_scores"),
    ]
    return in_namespace("prediction", predict + score if with_truth else predict)
