"""Cases that are checked, resized and split, made from raw images, masks and annotations."""

from lesion_project.pipelines.data_processing.pipeline import create_pipeline

__all__ = ["create_pipeline"]
