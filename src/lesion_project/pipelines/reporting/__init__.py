"""Pipeline from a trained network to scores, tables, figures and the report page."""

from lesion_project.pipelines.reporting.pipeline import create_pipeline

__all__ = ["create_pipeline"]
