"""Part of `reporting`: scores by the paper's formulas, its Table II beside that of the run, and its 64 layers."""

import pandas as pd
from kedro.pipeline import Node, Pipeline

from lesion_project.pipelines import in_namespace
from lesion_segmentation.data.cases import ImageSize
from lesion_segmentation.paper.tables import compare_with_paper, summarize_legacy

TABLE, LAYERS = "table_ii_beside_paper#table", "paper_architecture#table"
"""Arguments of the pipeline `reporting` that replace its default table of scores and table of layers."""


def create_pipeline() -> Pipeline:
    """Create table_ii_legacy, table_ii_beside_paper and paper_architecture from table_ii and the predictions."""
    legacy = "table_ii_legacy#table"
    maps = ["probabilities", "sample_masks", "case_metrics"]
    nodes = [
        Node(summarize_legacy, maps, legacy, name="summarize_legacy"),
        Node(compare_with_paper, ["table_ii", legacy], TABLE, name="compare_with_paper"),
        Node(summarize_paper_architecture, "params:image_size", LAYERS, name="summarize_paper_architecture"),
    ]
    return in_namespace("reporting.tables", nodes)


def summarize_paper_architecture(image_size: ImageSize) -> pd.DataFrame:
    """List the layers, shapes and parameters of the paper's network, which may differ from the trained network."""
    from lesion_segmentation.model import SegNet
    from lesion_segmentation.model.layers import summarize_layers

    network = SegNet(width=1.0, unpooling="indices", logit_batch_norm=True)
    return summarize_layers(network, image_size.height, image_size.width)
