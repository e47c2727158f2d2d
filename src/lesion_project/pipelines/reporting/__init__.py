"""From a network to scores, tables and figures."""

from lesion_project.pipelines.reporting.pipeline import create_pipeline

__all__ = ["create_pipeline"]
