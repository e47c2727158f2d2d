"""From anyone's pictures to masks in a folder."""

from lesion_segmentation.pipelines.inference.pipeline import create_pipeline

__all__ = ["create_pipeline"]
