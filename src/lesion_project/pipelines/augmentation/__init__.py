"""Samples that are trained on and scored, made from the cases."""

from lesion_project.pipelines.augmentation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
