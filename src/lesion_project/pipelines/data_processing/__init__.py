"""From PH2 as it comes to cases."""

from lesion_project.pipelines.data_processing.pipeline import create_pipeline

__all__ = ["create_pipeline"]
