"""From a network to predictions, scores, tables and figures."""

from kedro.pipeline import Node, Pipeline

from lesion_segmentation.evaluation.audit import audit_table_ii
from lesion_segmentation.evaluation.native import compare_sizes, score_native_size, summarise_native
from lesion_segmentation.evaluation.subgroups import score_subgroups
from lesion_segmentation.evaluation.tables import compare_with_paper, find_intervals, pick_epochs, summarise_cases
from lesion_segmentation.pipelines.reporting import nodes
from lesion_segmentation.report.calibration import draw_reliability
from lesion_segmentation.report.curves import draw_curves, draw_epochs
from lesion_segmentation.report.diagrams import draw_network
from lesion_segmentation.report.predictions import draw_enhanced_predictions, draw_predictions


def create_pipeline() -> Pipeline:
    """network, images, masks, native_masks, cases, guarded_samples, split -> probabilities, scores, tables, figures."""
    return Pipeline(
        [*_predict_and_score(), *_tabulate(), *_draw(), *_write()],
        namespace="reporting",
        prefix_datasets_with_namespace=False,
        tags="reporting",
    )


def _predict_and_score() -> list[Node]:
    return [
        Node(
            nodes.predict_cases,
            ["network", "images", "sample_images", "guarded_samples", "split", "params:reporting"],
            "probabilities",
            name="predict_cases",
        ),
        Node(nodes.threshold_cases, ["probabilities", "network"], "predicted_masks", name="threshold_cases"),
        Node(
            nodes.score_cases,
            [
                "probabilities",
                "masks",
                "sample_masks",
                "cases",
                "guarded_samples",
                "split",
                "network",
                "params:reporting",
            ],
            ["case_metrics", "case_metrics_enhanced"],
            name="score_cases",
        ),
        Node(
            score_native_size,
            ["probabilities", "native_masks", "case_metrics"],
            "case_metrics_native",
            name="score_native_size",
        ),
    ]


def _tabulate() -> list[Node]:
    return [
        Node(summarise_cases, ["case_metrics", "case_metrics_enhanced"], "table_ii", name="summarise_cases"),
        Node(find_intervals, ["case_metrics", "case_metrics_enhanced"], "score_intervals", name="find_intervals"),
        Node(
            nodes.summarise_legacy,
            ["probabilities", "masks", "sample_masks", "case_metrics"],
            "table_ii_legacy",
            name="summarise_legacy",
        ),
        Node(compare_with_paper, ["table_ii", "table_ii_legacy"], "table_ii_beside_paper", name="compare_with_paper"),
        Node(
            nodes.calibrate,
            ["probabilities", "masks", "sample_masks", "case_metrics"],
            "calibration",
            name="calibrate",
        ),
        Node(summarise_native, "case_metrics_native", "native_scores", name="summarise_native"),
        Node(compare_sizes, ["case_metrics", "case_metrics_native"], "native_size_comparison", name="compare_sizes"),
        Node(pick_epochs, ["training_history", "split"], "metrics_by_epoch", name="pick_epochs"),
        Node(
            nodes.summarise_architecture,
            ["network", "params:image_size"],
            "architecture",
            name="summarise_architecture",
        ),
        Node(
            nodes.summarise_paper_architecture,
            "params:image_size",
            "paper_architecture",
            name="summarise_paper_architecture",
        ),
    ]


def _write() -> list[Node]:
    tables = ["table_ii_beside_paper", "score_intervals", "case_metrics", "subgroups", "threshold_sweep", "calibration",
              "training_history", "metric_audit", "cases"]  # fmt: skip
    others = ["images", "sample_images", "masks", "sample_masks", "predicted_masks", "dataset_passport", "model_card",
              "network", "run_record"]  # fmt: skip
    return [
        Node(score_subgroups, ["case_metrics", "cases"], "subgroups", name="score_subgroups"),
        Node(
            nodes.sweep_thresholds,
            ["probabilities", "masks", "sample_masks", "case_metrics"],
            "threshold_sweep",
            name="sweep_thresholds",
        ),
        Node(audit_table_ii, "table_ii_beside_paper", "metric_audit", name="audit_table_ii"),
        Node(
            nodes.write_model_card,
            ["score_intervals", "case_metrics", "dataset_passport", "split", "network", "params:image_size"],
            "model_card",
            name="write_model_card",
        ),
        Node(nodes.build_page, {name: name for name in [*tables, *others]}, "report", name="build_page"),
    ]


def _draw() -> list[Node]:
    return [
        Node(nodes.draw_flow, None, "data_flow", name="draw_flow"),
        Node(draw_network, "paper_architecture", "network_layers", name="draw_network"),
        Node(draw_curves, ["training_history", "cases", "split"], "training_curves", name="draw_curves"),
        Node(draw_epochs, ["metrics_by_epoch", "cases", "split"], "metrics_by_epoch_curves", name="draw_epochs"),
        Node(draw_reliability, ["calibration", "case_metrics"], "reliability_diagram", name="draw_reliability"),
        Node(
            draw_predictions,
            ["images", "masks", "probabilities", "case_metrics"],
            "predictions_beside_truth",
            name="draw_predictions",
        ),
        Node(
            draw_enhanced_predictions,
            ["images", "masks", "probabilities", "case_metrics", "case_metrics_enhanced"],
            "predictions_enhanced",
            name="draw_enhanced_predictions",
        ),
    ]
