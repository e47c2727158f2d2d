"""Scores of predicted masks, their confidence intervals, calibration, and audits of published scores."""

from lesion_segmentation.evaluation.scores import count_pixels, score_case, score_counts

__all__ = ["count_pixels", "score_case", "score_counts"]
