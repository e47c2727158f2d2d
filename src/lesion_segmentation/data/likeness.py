"""How alike two pictures are: perceptual hashes, whatever the size, the compression, the turn or the mirroring."""

import numpy as np
from PIL import Image
from scipy.fft import dctn

HASH_SIZE = 16
HASH_BITS = HASH_SIZE**2
"""Of the lowest 16 x 16 frequencies. Half of the bits are set, so distances are even numbers."""


def hash_distances(images: list[np.ndarray]) -> np.ndarray:
    """(N, N) numbers of differing bits, the least over the eight turned and mirrored views of either."""
    views = np.stack([[perceptual_hash(view) for view in _views(image)] for image in images])  # (N, 8, 256)
    signs = views.astype(np.float32) * 2 - 1
    agreement = np.einsum("ib,jvb->ijv", signs[:, 0], signs)
    # The median of a turned picture's frequencies may differ a little, so the two ways round are not quite equal.
    nearest = np.maximum(agreement.max(axis=2), agreement.max(axis=2).T)
    return ((HASH_BITS - nearest) / 2).astype(int)


def perceptual_hash(square: np.ndarray) -> np.ndarray:
    """Which of the lowest 16 x 16 frequencies of a square grey picture lie above their median: (256,) boolean.

    After Zauner, "Implementation and benchmarking of perceptual image hash functions" (2010), with 256 bits for 64.
    """
    frequencies = dctn(square.astype(np.float64))[:HASH_SIZE, :HASH_SIZE].ravel()
    return frequencies > np.median(frequencies)


def _views(image: np.ndarray) -> list[np.ndarray]:
    """The picture in grey at 64 x 64, in all eight turned and mirrored views."""
    grey = np.asarray(Image.fromarray(image).convert("L").resize((64, 64), Image.Resampling.LANCZOS))
    return [np.rot90(side, turns) for side in (grey, grey[:, ::-1]) for turns in range(4)]
