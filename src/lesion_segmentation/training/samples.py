"""The pictures of a subset on the training device."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lesion_segmentation.core.errors import InputError


@dataclass(frozen=True)
class Pictures:
    """images: uint8 (N, 3, H, W); masks: uint8 (N, 1, H, W), 0 or 1; both on the training device; sources: N names.

    annotation_styles: which map of the network each is learned by, (N,).
    """

    images: Tensor
    masks: Tensor
    sources: Sequence[str]
    annotation_styles: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, 3, H, W), 0 to 255, and masks (n, 1, H, W), both float32."""
        return self.images[indices].float(), self.masks[indices].float()


def load_samples(
    images: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    samples: pd.DataFrame,
    device: torch.device | str,
    annotation_styles: Sequence[str] = (),
) -> Pictures:
    """All pictures of a subset as two tensors on the device: ten thousand of 192 x 256 take two gigabytes.

    Raises:
        InputError: A source has none of the annotation_styles that the network knows.
    """
    ids = list(samples["sample_id"])
    if not ids:
        return Pictures(torch.empty(0, 3, 0, 0), torch.empty(0, 1, 0, 0), [], torch.empty(0, dtype=torch.long))
    height, width, _ = images[ids[0]].shape
    stacked = torch.empty(len(ids), 3, height, width, dtype=torch.uint8)
    stacked_masks = torch.empty(len(ids), 1, height, width, dtype=torch.uint8)
    for number, sample_id in enumerate(ids):  # one by one: a stack of all would stand in memory twice
        stacked.numpy()[number] = images[sample_id].transpose(2, 0, 1)
        stacked_masks.numpy()[number, 0] = masks[sample_id]
    sources = list(samples["source"]) if "source" in samples else [""] * len(ids)
    which = torch.tensor(_find_annotation_styles(sources, annotation_styles)).to(device)
    return Pictures(stacked.to(device), stacked_masks.to(device), sources, which)


def _find_annotation_styles(sources: Sequence[str], annotation_styles: Sequence[str]) -> list[int]:
    unknown = sorted(set(sources) - set(annotation_styles)) if annotation_styles else []
    if unknown:
        raise InputError(
            f"training.options.annotation_styles are {', '.join(annotation_styles)}, but there are pictures of {', '.join(unknown)}"
        )
    return [annotation_styles.index(source) if annotation_styles else 0 for source in sources]
