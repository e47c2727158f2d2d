"""Nodes that compare a run with the paper."""

from lesion_project.pipelines.paper.pipeline import LAYERS, TABLE, create_pipeline

__all__ = ["LAYERS", "TABLE", "create_pipeline"]
