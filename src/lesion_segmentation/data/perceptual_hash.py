"""Perceptual hashes, whose distance hardly depends on size, compression, rotation by 90 degrees and mirroring."""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from lesion_segmentation.images.resize import resize_image

HASH_SIZE = 16
HASH_BITS = HASH_SIZE**2
"""One bit per frequency, of the lowest 16 x 16. Half of the bits are set, so distances are even numbers."""
_HASHED_SIZE = (192, 256)
"""Height and width in pixels, as in the measurements of docs/explanation/leakage.md."""
_BLOCK = 512
"""Number of images that are compared with all others in one step, to limit the memory."""


def hash_image(image: np.ndarray) -> np.ndarray:
    """Return the hashes of a native image, uint8 (H, W, 3), as boolean (8, 256).

    The image is stretched to a fixed size, so that the hashes match those of the same image rotated by 90 degrees.
    """
    return hash_views(resize_image(image, *_HASHED_SIZE))


def hash_views(image: np.ndarray) -> np.ndarray:
    """Return the hashes of all eight rotated and mirrored views of uint8 (H, W, 3) as boolean (8, 256)."""
    grey = np.asarray(Image.fromarray(image).convert("L").resize((64, 64), Image.Resampling.LANCZOS))
    return np.stack([hash_square(np.rot90(side, turns)) for side in (grey, grey[:, ::-1]) for turns in range(4)])


def hash_square(square: np.ndarray) -> np.ndarray:
    """Return which of the lowest 16 x 16 frequencies of a square grey image are above their median, boolean (256,).

    The method is by Zauner, "Implementation and benchmarking of perceptual image hash functions" (2010), but with 256
    bits instead of 64.
    """
    from scipy.fft import dctn

    frequencies = dctn(square.astype(np.float64))[:HASH_SIZE, :HASH_SIZE].ravel()
    return frequencies > np.median(frequencies)


def find_similar_pairs(hashes: Sequence[np.ndarray], max_distance: int) -> list[tuple[int, int, int]]:
    """Find the pairs with the most similar hashes (8, 256), in memory that grows linearly with the number of images.

    Returns:
        The indices of both images and the number of differing bits, the minimum over the views, for each pair with at
        most `max_distance` differing bits, or for the nearest pair if there is none.
    """
    if not hashes:
        return []
    found: list[tuple[int, int, int]] = []
    nearest: tuple[int, int, int] | None = None
    for first, distances in _distances_by_block(np.stack(hashes).astype(np.float32) * 2 - 1):
        rows, columns = np.nonzero(np.arange(len(distances))[:, None] < np.arange(distances.shape[1]))
        bits = distances[rows, columns]
        chosen = bits <= max_distance
        pairs = rows[chosen] + first, columns[chosen] + first, bits[chosen]
        found += zip(*(part.tolist() for part in pairs), strict=True)
        if len(bits) and (nearest is None or bits.min() < nearest[2]):
            least = int(bits.argmin())
            nearest = (int(rows[least]) + first, int(columns[least]) + first, int(bits[least]))
    return found or ([nearest] if nearest else [])


def _distances_by_block(signs: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield for each block the index of its first image and its distances (n, M) to itself and all following images."""
    for first in range(0, len(signs), _BLOCK):
        block, others = signs[first : first + _BLOCK], signs[first:]
        # Both directions are compared, since the median of the frequencies may differ slightly between rotated views.
        nearest = np.maximum(_agreement(block, others), _agreement(others, block).T)
        yield first, ((HASH_BITS - nearest) / 2).astype(int)


def _agreement(upright: np.ndarray, rotated: np.ndarray) -> np.ndarray:
    """Return the agreement (n, m) of the first views of n images with the most similar views of m images."""
    best = upright[:, 0] @ rotated[:, 0].T
    for view in range(1, rotated.shape[1]):
        np.maximum(best, upright[:, 0] @ rotated[:, view].T, out=best)
    return best
