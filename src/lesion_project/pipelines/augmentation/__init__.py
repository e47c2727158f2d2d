"""From cases to samples."""

from lesion_project.pipelines.augmentation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
