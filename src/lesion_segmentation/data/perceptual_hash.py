"""How alike two pictures are: perceptual hashes, whatever the size, the compression, the turn or the mirroring."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

HASH_SIZE = 16
HASH_BITS = HASH_SIZE**2
"""Of the lowest 16 x 16 frequencies. Half of the bits are set, so distances are even numbers."""


def hash_images(images: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """case_id to the hashes of the picture's eight turned and mirrored views, boolean (8, 256)."""
    return {case_id: hash_views(image) for case_id, image in images.items()}


def hash_views(image: np.ndarray) -> np.ndarray:
    """The hashes of all eight turned and mirrored views of uint8 (H, W, 3): boolean (8, 256)."""
    grey = np.asarray(Image.fromarray(image).convert("L").resize((64, 64), Image.Resampling.LANCZOS))
    return np.stack([hash_square(np.rot90(side, turns)) for side in (grey, grey[:, ::-1]) for turns in range(4)])


def hash_square(square: np.ndarray) -> np.ndarray:
    """Which of the lowest 16 x 16 frequencies of a square grey picture lie above their median: (256,) boolean.

    After Zauner, "Implementation and benchmarking of perceptual image hash functions" (2010), with 256 bits for 64.
    """
    from scipy.fft import dctn

    frequencies = dctn(square.astype(np.float64))[:HASH_SIZE, :HASH_SIZE].ravel()
    return frequencies > np.median(frequencies)


def hash_distances(hashes: Sequence[np.ndarray]) -> np.ndarray:
    """(N, N) numbers of differing bits of N hashes (8, 256), the least over the views of either picture."""
    signs = np.stack(hashes).astype(np.float32) * 2 - 1
    agreement = np.einsum("ib,jvb->ijv", signs[:, 0], signs)
    # The median of a turned picture's frequencies may differ a little, so the two ways round are not quite equal.
    nearest = np.maximum(agreement.max(axis=2), agreement.max(axis=2).T)
    return ((HASH_BITS - nearest) / 2).astype(int)
