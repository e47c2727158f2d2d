"""Pipeline that compares two runs."""

from lesion_project.pipelines.comparison.pipeline import create_pipeline

__all__ = ["create_pipeline"]
