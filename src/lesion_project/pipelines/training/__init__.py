"""Training of a network on the samples."""

from lesion_project.pipelines.training.pipeline import create_pipeline

__all__ = ["create_pipeline"]
