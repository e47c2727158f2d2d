"""Anyone's pictures predicted by any network, and scored where true masks are at hand."""

from kedro.pipeline import Node, Pipeline

from lesion_segmentation.inference.truth import score_pictures, summarise_scores
from lesion_segmentation.pipelines.inference import nodes


def create_pipeline(with_truth: bool = False) -> Pipeline:
    """pictures, earlier_networks -> predictions, prediction_counts; with truth also scores of each picture."""
    predict = ["earlier_networks", "pictures", "params:inference"]
    scored = [
        Node(score_pictures, ["predictions", "true_masks"], "picture_scores", name="score_pictures"),
        Node(summarise_scores, "picture_scores", "picture_score_summary", name="summarise_scores"),
        Node(nodes.list_scores, "picture_score_summary", "prediction_scores", name="list_scores"),
    ]
    return Pipeline(
        [
            Node(nodes.prepare_predictions, predict, "predictions", name="prepare_predictions"),
            Node(nodes.count_predictions, "predictions", "prediction_counts", name="count_predictions"),
            *(scored if with_truth else []),
        ],
        namespace="inference",
        prefix_datasets_with_namespace=False,
        tags="inference",
    )
