"""Temperature scaling: one number that logits are divided by, so that probabilities mean what they say."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, xlogy

from lesion_segmentation.evaluation.calibration import count_pixels_by_bin, reliability, summarize_reliability

BOUNDS = (0.25, 8.0)
"""Between which a temperature is looked for."""


def fit_temperature(logits: np.ndarray, masks: np.ndarray) -> float:
    """The temperature of the lowest binary cross-entropy, where it also lowers the calibration error; else 1.

    After Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks" (2017), for the mean of the
    sigmoids of several views.

    Args:
        logits: (views, N, H, W).
        masks: (N, H, W), 0 or 1; pixels count alike, whatever picture they are of.
    """

    def cross_entropy(log_temperature: float) -> float:
        p = apply_temperature(logits, float(np.exp(log_temperature)))
        return float(-(xlogy(masks, p) + xlogy(1 - masks, 1 - p)).mean())

    found = minimize_scalar(cross_entropy, bounds=np.log(BOUNDS), method="bounded", options={"xatol": 0.01})
    temperature = float(np.exp(found.x))
    better = measure_ece(apply_temperature(logits, temperature), masks) < measure_ece(
        apply_temperature(logits, 1.0), masks
    )
    return round(temperature, 3) if better else 1.0


def apply_temperature(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Logits (views, N, H, W) to probabilities (N, H, W), kept off 0 and 1 by what float32 can tell."""
    p = sum(expit(view.astype(np.float32) / np.float32(temperature)) for view in logits) / len(logits)
    return np.clip(p, 1e-7, 1 - 1e-7)


def measure_ece(probabilities: np.ndarray, masks: np.ndarray) -> float:
    """The expected calibration error of all pixels, pooled."""
    sums = count_pixels_by_bin(probabilities.ravel(), masks.ravel().astype(bool))
    return summarize_reliability(reliability(sums), sums)["ece"]
