"""Pipeline `reporting`: predictions, scores, tables, figures and the report page of a network."""

from kedro.pipeline import Node, Pipeline

from lesion_project.pipelines import in_namespace
from lesion_project.pipelines.reporting import nodes
from lesion_segmentation.evaluation.annotators import score_annotators
from lesion_segmentation.evaluation.audit import audit_table_ii
from lesion_segmentation.evaluation.calibration import calibrate, sweep_thresholds
from lesion_segmentation.evaluation.native import compare_sizes, summarize_native
from lesion_segmentation.evaluation.subgroups import score_subgroups
from lesion_segmentation.evaluation.tables import find_intervals, pick_epochs, summarize_cases
from lesion_segmentation.report.curves import draw_curves, draw_epochs, draw_reliability
from lesion_segmentation.report.diagrams import draw_network
from lesion_segmentation.report.model_card import write_model_card
from lesion_segmentation.report.predictions import draw_predictions


def create_pipeline(table: str = "table_ii", layers: str = "architecture#table") -> Pipeline:
    """Predict and score the cases of a network, and report on them.

    Args:
        table: Dataset of the table of scores that the page shows and the audit checks.
        layers: Dataset of the table of layers for the diagram of the network.
    """
    predicted = ["network", "sample_images", "scored_samples", "split", "params:prediction", "params:reporting"]
    exported = ["network", "params:reporting"]
    masks = ["probabilities", "predicted_masks"]
    parts = {
        "prediction": [Node(nodes.predict_cases, predicted, masks, name="predict_cases")],
        "scores": _score(),
        "tables": _tabulate(table),
        "figures": _draw(layers),
        "page": _write(table),
        "export": [Node(nodes.export_network, exported, "exported_network", name="export_network")],
    }
    return sum((in_namespace(f"reporting.{name}", part) for name, part in parts.items()), start=Pipeline([]))


def _score() -> list[Node]:
    maps = ["probabilities", "sample_masks", "scored_samples"]
    enhanced = [*maps, "case_metrics", "params:reporting"]
    native = ["probabilities", "native_masks", "case_metrics", "params:image_size"]
    return [
        Node(nodes.score_cases, [*maps, "split", "network", "params:prediction"], "case_metrics", name="score_cases"),
        Node(nodes.score_cases_enhanced, enhanced, "case_metrics_enhanced#table", name="score_cases_enhanced"),
        Node(nodes.score_native_size, native, "case_metrics_native#table", name="score_native_size"),
    ]


def _tabulate(table: str) -> list[Node]:
    both = ["case_metrics", "case_metrics_enhanced#table"]
    maps = ["probabilities", "sample_masks", "case_metrics"]
    native = "case_metrics_native#table"
    outlined = ["predicted_masks", "annotator_masks", "case_metrics"]
    return [
        Node(summarize_cases, both, "table_ii", name="summarize_cases"),
        Node(find_intervals, both, "score_intervals#table", name="find_intervals"),
        Node(calibrate, maps, "calibration#table", name="calibrate"),
        Node(sweep_thresholds, maps, "threshold_sweep#table", name="sweep_thresholds"),
        Node(summarize_native, native, "native_scores#table", name="summarize_native"),
        Node(compare_sizes, ["case_metrics", native], "native_size_comparison#table", name="compare_sizes"),
        Node(score_subgroups, ["case_metrics", "cases"], "subgroups#table", name="score_subgroups"),
        Node(score_annotators, outlined, "annotators#table", name="score_annotators"),
        Node(audit_table_ii, table, "metric_audit#table", name="audit_table_ii"),
        Node(pick_epochs, ["training_history", "split"], "metrics_by_epoch#table", name="pick_epochs"),
        Node(nodes.summarize_architecture, "network", "architecture#table", name="summarize_architecture"),
    ]


def _draw(layers: str) -> list[Node]:
    history = ["training_history", "cases", "split"]
    epochs = ["metrics_by_epoch#table", "cases", "split"]
    maps = ["sample_images", "sample_masks", "probabilities", "case_metrics"]
    enhanced = [*maps, "case_metrics_enhanced#table"]
    calibration = ["calibration#table", "case_metrics"]
    return [
        Node(nodes.draw_flow, None, "data_flow#figure", name="draw_flow"),
        Node(draw_network, layers, "network_layers#figure", name="draw_network"),
        Node(draw_curves, history, "training_curves#figure", name="draw_curves"),
        Node(draw_epochs, epochs, "metrics_by_epoch_curves#figure", name="draw_epochs"),
        Node(draw_reliability, calibration, "reliability_diagram#figure", name="draw_reliability"),
        Node(draw_predictions, maps, "predictions_beside_truth#figure", name="draw_predictions"),
        Node(draw_predictions, enhanced, "predictions_enhanced#figure", name="draw_enhanced_predictions"),
    ]


def _write(table: str) -> list[Node]:
    tables = ["score_intervals", "subgroups", "annotators", "threshold_sweep", "calibration", "metric_audit"]
    others = ["case_metrics", "training_history", "cases", "predicted_masks", "dataset_passport", "model_card",
              "network"]  # fmt: skip
    page = {
        "table": table,
        "images": "sample_images",
        "masks": "sample_masks",
        **{name: f"{name}#table" for name in tables},
        **{name: name for name in others},
        "run_record": "params:this_run.record",
    }
    card = ["score_intervals#table", "case_metrics", "dataset_passport", "split", "network"]
    return [
        Node(write_model_card, card, "model_card", name="write_model_card"),
        Node(nodes.build_page, page, "report", name="build_page"),
    ]
