"""How alike two pictures are: perceptual hashes, whatever the size, the compression, the turn or the mirroring."""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from lesion_segmentation.images.resize import resize_image

HASH_SIZE = 16
HASH_BITS = HASH_SIZE**2
"""Of the lowest 16 x 16 frequencies. Half of the bits are set, so distances are even numbers."""
_HASHED_AT = (192, 256)
"""Height and width; docs/leak_guard.md was measured at it."""
_BLOCK = 512
"""Pictures that are compared with all others at once."""


def hash_image(image: np.ndarray) -> np.ndarray:
    """The hashes of a picture as it comes, uint8 (H, W, 3) of any size, whatever it is trained at: boolean (8, 256).

    It is stretched to one size, so that a picture turned by 90 degrees looks like itself.
    """
    return hash_views(resize_image(image, *_HASHED_AT))


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
    return np.concatenate([rows for _, rows in _distances_by_block(_as_signs(hashes), upper=False)])


def find_similar_pairs(hashes: Sequence[np.ndarray], max_distance: int) -> list[tuple[int, int, int]]:
    """Which pictures are alike, in memory that grows with N alone.

    Returns:
        First, second and number of differing bits of each pair of at most `max_distance`, and of the nearest pair of
        all, whatever its distance; none of fewer than two pictures.
    """
    found: list[tuple[int, int, int]] = []
    nearest: tuple[int, int, int] | None = None
    for first, distances in _distances_by_block(_as_signs(hashes), upper=True):
        rows, columns = np.nonzero(np.arange(len(distances))[:, None] < np.arange(distances.shape[1]))
        bits = distances[rows, columns]
        chosen = bits <= max_distance
        pairs = rows[chosen] + first, columns[chosen] + first, bits[chosen]
        found += zip(*(part.tolist() for part in pairs), strict=True)
        if len(bits) and (nearest is None or bits.min() < nearest[2]):
            least = int(bits.argmin())
            nearest = (int(rows[least]) + first, int(columns[least]) + first, int(bits[least]))
    return found or ([nearest] if nearest else [])


def _as_signs(hashes: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack(hashes).astype(np.float32) * 2 - 1


def _distances_by_block(signs: np.ndarray, upper: bool) -> Iterator[tuple[int, np.ndarray]]:
    """The number of a block's first picture, and (n, M) distances of the block's from all, or from all after it."""
    for first in range(0, len(signs), _BLOCK):
        block, others = signs[first : first + _BLOCK], signs[first if upper else 0 :]
        # The median of a turned picture's frequencies may differ a little, so the two ways round are not quite equal.
        nearest = np.maximum(_agreement(block, others), _agreement(others, block).T)
        yield first, ((HASH_BITS - nearest) / 2).astype(int)


def _agreement(upright: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """(n, m) of the upright views of n pictures with the view of each of m that agrees best."""
    best = upright[:, 0] @ turned[:, 0].T
    for view in range(1, turned.shape[1]):
        np.maximum(best, upright[:, 0] @ turned[:, view].T, out=best)
    return best
