"""Metrics of an epoch, whose counts stay on the device until the epoch ends."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lesion_segmentation.evaluation.scores import COUNTS, score_counts

EPOCH_METRICS = ("loss", "accuracy", "precision", "recall", "iou", "dice")


class EpochMetrics:
    """Accumulator of tp, fp, fn, tn and binary cross-entropy of each image of an epoch."""

    def __init__(self) -> None:
        self._rows: list[Tensor] = []

    @torch.no_grad()
    def add(self, logits: Tensor, masks: Tensor) -> None:
        """Add a batch of logits (N, 1, H, W) and masks (N, 1, H, W), 0 to 1, without waiting for the device."""
        lesion, predicted = masks >= 0.5, logits > 0
        counts = (predicted & lesion, predicted & ~lesion, ~predicted & lesion, ~predicted & ~lesion)
        loss = binary_cross_entropy_with_logits(logits.float(), masks.float(), reduction="none")
        columns = [*(count.sum(dim=(1, 2, 3)).float() for count in counts), loss.mean(dim=(1, 2, 3))]
        self._rows.append(torch.stack(columns, dim=1))

    def scores(self) -> dict[str, float]:
        """Return EPOCH_METRICS, averaged over images, of masks thresholded at 0.5. This waits for the device."""
        table = torch.cat(self._rows).cpu().numpy().astype(np.float64)
        scores = score_counts(**dict(zip(COUNTS, table[:, :4].T, strict=True))) | {"loss": table[:, 4]}
        return {name: float(scores[name].mean()) for name in EPOCH_METRICS}
