"""Our scores by the paper's formulas, its Table II beside ours, and its 64 layers: parts of `reporting`."""

from kedro.pipeline import Node, Pipeline

from lesion_segmentation.paper.tables import compare_with_paper, summarise_legacy
from lesion_segmentation.pipelines.paper.nodes import summarise_paper_architecture
from lesion_segmentation.pipelines.reporting.pipeline import part

TABLE, LAYERS = "table_ii_beside_paper#table", "paper_architecture#table"
"""What the page shows and the audit checks, and which layers are drawn, where the paper is at hand."""


def create_pipeline() -> Pipeline:
    """table_ii, probabilities, sample_masks, case_metrics -> table_ii_legacy, table_ii_beside_paper."""
    legacy = "table_ii_legacy#table"
    maps = ["probabilities", "sample_masks", "case_metrics"]
    return part(
        "tables",
        [
            Node(summarise_legacy, maps, legacy, name="summarise_legacy"),
            Node(compare_with_paper, ["table_ii", legacy], TABLE, name="compare_with_paper"),
            Node(summarise_paper_architecture, "params:image_size", LAYERS, name="summarise_paper_architecture"),
        ],
    )
