"""Our scores by the paper's formulas, its Table II beside ours, and its 64 layers: parts of `reporting`."""

from kedro.pipeline import Node, Pipeline

from lesion_project.pipelines.paper.nodes import summarize_paper_architecture
from lesion_project.pipelines.reporting.pipeline import part
from lesion_segmentation.paper.tables import compare_with_paper, summarize_legacy

TABLE, LAYERS = "table_ii_beside_paper#table", "paper_architecture#table"
"""What the page shows and the audit checks, and which layers are drawn, where the paper is at hand."""


def create_pipeline() -> Pipeline:
    """table_ii, probabilities, sample_masks, case_metrics -> table_ii_legacy, table_ii_beside_paper."""
    legacy = "table_ii_legacy#table"
    maps = ["probabilities", "sample_masks", "case_metrics"]
    return part(
        "tables",
        [
            Node(summarize_legacy, maps, legacy, name="summarize_legacy"),
            Node(compare_with_paper, ["table_ii", legacy], TABLE, name="compare_with_paper"),
            Node(summarize_paper_architecture, "params:image_size", LAYERS, name="summarize_paper_architecture"),
        ],
    )
