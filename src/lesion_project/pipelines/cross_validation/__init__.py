"""Pipeline that aggregates the finished folds of a cross-validation."""

from lesion_project.pipelines.cross_validation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
