"""Scores as the paper's code computes them. They differ from the usual definitions; use them only to compare with it.

The formulas are those of the notebook in the repository hashbanger/Skin_Lesion_Segmentation, which the paper follows.
"""

import numpy as np

SMOOTH = 100.0
"""Constant in numerator and denominator of `iou` and `dice`."""
BATCH = 18
"""Batch size of the paper's code."""


def legacy_scores(probabilities: np.ndarray, masks: np.ndarray, batch_size: int = BATCH) -> dict[str, float]:
    """Return accuracy, precision, recall, iou and dice as fractions, as the paper's code computes them.

    Args:
        probabilities: p, (N, H, W) with N of at least 1, 0 to 1.
        masks: y, (N, H, W), boolean or 0 and 1. Another shape raises a ValueError.
        batch_size: Each batch is scored, and the scores are averaged with the numbers of images as weights.

    Returns:
        `iou` is soft: the mean over image rows (of W pixels) of (I + 100) / (S - I + 100) with I = sum(y p) and
        S = sum(y^2) + sum(p^2). A row without lesion scores 1 if all its probabilities are 0. `dice` is soft and pooled
        over the batch: (2 I + 100) / (sum(y) + sum(p) + 100). `accuracy`, `precision` and `recall` are pooled over the
        batch, with probabilities rounded to 0 or 1. Precision is 0 without a predicted lesion, and recall is 0 without
        a true one.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    y = np.asarray(masks, dtype=np.float64)
    if p.shape != y.shape or p.ndim != 3 or len(p) == 0:
        raise ValueError(
            f"probabilities are {p.shape}, masks {y.shape}; expected the same shape (N, H, W), N at least 1"
        )
    starts = range(0, len(p), batch_size)
    batches = [_score_batch(p[start : start + batch_size], y[start : start + batch_size]) for start in starts]
    weights = [len(p[start : start + batch_size]) for start in starts]
    return {name: float(np.average([batch[name] for batch in batches], weights=weights)) for name in batches[0]}


def _score_batch(p: np.ndarray, y: np.ndarray) -> dict[str, float]:
    rounded = np.round(p)  # half to even, as Keras: 0.5 becomes 0
    true_positives = (rounded * y).sum()
    row_overlap = (y * p).sum(axis=2)
    row_squares = (y**2).sum(axis=2) + (p**2).sum(axis=2)
    return {
        "accuracy": float((rounded == y).mean()),
        "precision": float(true_positives / (rounded.sum() + 1e-7)),
        "recall": float(true_positives / (y.sum() + 1e-7)),
        "iou": float(((row_overlap + SMOOTH) / (row_squares - row_overlap + SMOOTH)).mean()),
        "dice": float((2 * row_overlap.sum() + SMOOTH) / (y.sum() + p.sum() + SMOOTH)),
    }
