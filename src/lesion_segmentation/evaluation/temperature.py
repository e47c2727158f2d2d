"""Temperature scaling: calibrate probabilities by dividing the logits by one number."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, xlogy

from lesion_segmentation.evaluation.calibration import count_pixels_by_bin, reliability, summarize_reliability

BOUNDS = (0.25, 8.0)
"""Range in which the temperature is searched."""


def fit_temperature(logits: np.ndarray, masks: np.ndarray) -> float:
    """Return the temperature with the lowest binary cross-entropy, or 1 unless it also lowers the calibration error.

    The method is that of Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks" (2017), applied to
    the mean of the sigmoids of several views.

    Args:
        logits: (views, N, H, W).
        masks: (N, H, W), 0 or 1. All pixels have the same weight.
    """

    def cross_entropy(log_temperature: float) -> float:
        p = apply_temperature(logits, float(np.exp(log_temperature)))
        return float(-(xlogy(masks, p) + xlogy(1 - masks, 1 - p)).mean())

    found = minimize_scalar(cross_entropy, bounds=np.log(BOUNDS), method="bounded", options={"xatol": 0.01})
    temperature = float(np.exp(found.x))
    before, after = (measure_ece(apply_temperature(logits, each), masks) for each in (1.0, temperature))
    return round(temperature, 3) if after < before else 1.0


def apply_temperature(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities (N, H, W) of logits (views, N, H, W), clipped to [1e-7, 1 - 1e-7]."""
    p = sum(expit(view.astype(np.float32) / np.float32(temperature)) for view in logits) / len(logits)
    return np.clip(p, 1e-7, 1 - 1e-7)


def measure_ece(probabilities: np.ndarray, masks: np.ndarray) -> float:
    """Return the expected calibration error of all pixels, pooled."""
    sums = count_pixels_by_bin(probabilities.ravel(), masks.ravel().astype(bool))
    return summarize_reliability(reliability(sums), sums)["ece"]
