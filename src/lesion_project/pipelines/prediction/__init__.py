"""Pipeline that predicts masks for a user's images."""

from lesion_project.pipelines.prediction.pipeline import create_pipeline

__all__ = ["create_pipeline"]
