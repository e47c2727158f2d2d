"""From two runs to what differs between them."""

from lesion_project.pipelines.comparison.pipeline import create_pipeline

__all__ = ["create_pipeline"]
