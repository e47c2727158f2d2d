"""Scores of predictions against masks. Imports NumPy and pandas only."""

from lesion_segmentation.evaluation.legacy import legacy_scores
from lesion_segmentation.evaluation.scores import count_pixels, score_case, score_counts

__all__ = ["count_pixels", "legacy_scores", "score_case", "score_counts"]
