"""Benchmarks of training and inference, as ratios to the time of the arithmetic at the rate of a matrix multiply."""

import lesion_segmentation  # noqa: F401 (sets an environment variable that must be set before torch is imported)
