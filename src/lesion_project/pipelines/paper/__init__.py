"""What the paper's room adds to the pipelines."""

from lesion_project.pipelines.paper.pipeline import LAYERS, TABLE, create_pipeline

__all__ = ["LAYERS", "TABLE", "create_pipeline"]
