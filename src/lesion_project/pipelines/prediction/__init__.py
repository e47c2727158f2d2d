"""From anyone's pictures to masks in a folder."""

from lesion_project.pipelines.prediction.pipeline import create_pipeline

__all__ = ["create_pipeline"]
