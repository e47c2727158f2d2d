"""The pictures of a subset on the training device."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Pictures:
    """images: uint8 (N, 3, H, W); masks: uint8 (N, 1, H, W), 0 or 1; both on the training device."""

    images: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, 3, H, W), 0 to 255, and masks (n, 1, H, W), both float32."""
        return self.images[indices].float(), self.masks[indices].float()


def load_pictures(
    images: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    sample_ids: Iterable[str],
    device: torch.device | str,
) -> Pictures:
    """All pictures of a subset as two tensors on the device: PH2 is small enough for any of them."""
    ids = list(sample_ids)
    if not ids:
        return Pictures(torch.empty(0, 3, 0, 0), torch.empty(0, 1, 0, 0))
    stacked = torch.from_numpy(np.stack([images[sample_id] for sample_id in ids])).permute(0, 3, 1, 2)
    stacked_masks = torch.from_numpy(np.stack([masks[sample_id] for sample_id in ids]))[:, None]
    return Pictures(stacked.contiguous().to(device), stacked_masks.to(device))
