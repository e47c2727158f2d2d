"""Masks in memory, packed to one bit per pixel."""

from collections.abc import Iterator, Mapping

import numpy as np


class PackedMasks(Mapping[str, np.ndarray]):
    """Mapping from case_id to uint8 (H, W), 0 or 1. A mask is unpacked at each access."""

    def __init__(self) -> None:
        self._packed: dict[str, tuple[np.ndarray, tuple[int, int]]] = {}

    def add(self, case_id: str, mask: np.ndarray) -> None:
        """Add a boolean mask (H, W)."""
        self._packed[case_id] = np.packbits(mask), (mask.shape[0], mask.shape[1])

    def __getitem__(self, case_id: str) -> np.ndarray:
        bits, shape = self._packed[case_id]
        return np.unpackbits(bits, count=shape[0] * shape[1]).reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)
