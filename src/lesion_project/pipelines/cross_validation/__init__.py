"""From finished folds to what they say together."""

from lesion_project.pipelines.cross_validation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
