"""From cases to samples."""

from lesion_segmentation.pipelines.augmentation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
