"""Part of `reporting`: scores by the paper's formulas, its Table II beside that of the run, and its 64 layers."""

from kedro.pipeline import Node, Pipeline

from lesion_project.pipelines.paper.nodes import summarize_paper_architecture
from lesion_project.pipelines.reporting.pipeline import part
from lesion_segmentation.paper.tables import compare_with_paper, summarize_legacy

TABLE, LAYERS = "table_ii_beside_paper#table", "paper_architecture#table"
"""Arguments of the pipeline `reporting` that replace its default table of scores and table of layers."""


def create_pipeline() -> Pipeline:
    """Create table_ii_legacy, table_ii_beside_paper and paper_architecture from table_ii and the predictions."""
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
