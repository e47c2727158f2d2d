"""From a network to predictions, scores, tables and figures."""

from kedro.pipeline import Node, Pipeline

from lesion_segmentation.evaluation.tables import compare_with_paper, summarise_cases
from lesion_segmentation.pipelines.reporting import nodes
from lesion_segmentation.report.figures import draw_curves, draw_predictions


def create_pipeline() -> Pipeline:
    """network, images, masks, cases, split -> probabilities, case_metrics, table_ii, figures."""
    return Pipeline(
        [
            Node(
                nodes.predict_cases,
                ["network", "images", "split", "params:reporting"],
                "probabilities",
                name="predict_cases",
            ),
            Node(nodes.threshold_cases, ["probabilities", "network"], "predicted_masks", name="threshold_cases"),
            Node(
                nodes.score_cases,
                ["probabilities", "masks", "cases", "split", "network", "params:reporting"],
                "case_metrics",
                name="score_cases",
            ),
            Node(summarise_cases, "case_metrics", "table_ii", name="summarise_cases"),
            Node(compare_with_paper, "table_ii", "table_ii_beside_paper", name="compare_with_paper"),
            Node(draw_curves, ["training_history", "cases"], "training_curves", name="draw_curves"),
            Node(
                draw_predictions,
                ["images", "masks", "predicted_masks", "case_metrics"],
                "predictions_beside_truth",
                name="draw_predictions",
            ),
            Node(
                nodes.summarise_architecture,
                ["network", "params:image_size"],
                "architecture",
                name="summarise_architecture",
            ),
        ],
        namespace="reporting",
        prefix_datasets_with_namespace=False,
        tags="reporting",
    )
