"""Anyone's pictures predicted by any network, and scored where true masks are at hand."""

from kedro.pipeline import Node, Pipeline

from lesion_project.pipelines.prediction import nodes
from lesion_segmentation.prediction.truth import score_images, summarize_scores


def create_pipeline(with_truth: bool = False) -> Pipeline:
    """pictures, trained_networks -> predictions, prediction_counts; with truth also scores of each picture."""
    predict = ["trained_networks", "pictures", "params:inference"]
    scored = [
        Node(score_images, ["predictions", "true_masks"], "image_scores", name="score_images"),
        Node(summarize_scores, "image_scores", "image_score_summary", name="summarize_scores"),
        Node(nodes.list_scores, "image_score_summary", "prediction_scores", name="list_scores"),
    ]
    return Pipeline(
        [
            Node(nodes.prepare_predictions, predict, "predictions", name="prepare_predictions"),
            Node(nodes.count_predictions, "predictions", "prediction_counts", name="count_predictions"),
            *(scored if with_truth else []),
        ],
        namespace="prediction",
        prefix_datasets_with_namespace=False,
        tags="prediction",
    )
