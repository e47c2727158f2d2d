"""Features of a lesion under its mask: asymmetry, border, colour, size and texture."""

import numpy as np
from skimage.color import rgb2lab
from skimage.feature import graycomatrix, graycoprops
from skimage.filters import sobel
from skimage.measure import perimeter_crofton, regionprops
from skimage.segmentation import find_boundaries

from lesion_segmentation.diagnosis.settings import FEATURES

COLORS = np.array(
    [(255, 255, 255), (204, 51, 51), (153, 102, 51), (77, 38, 26), (90, 100, 115), (20, 15, 15)], dtype=np.uint8
)
"""RGB of white, red, light brown, dark brown, blue-grey and black, the colours of the ABCD rule of dermatoscopy (Stolz
et al., 1994), which gives no values; these are this project's."""
MIN_COLOR_SHARE = 0.05
GREY_LEVELS = 16


def measure_lesion(image: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Return the FEATURES of an image, uint8 (H, W, 3), under a boolean mask (H, W).

    An empty mask counts as the whole image. Without pixels outside the mask, contrasts and border gradients are 0.
    """
    mask = mask if mask.any() else np.ones_like(mask)
    lab = rgb2lab(image)
    values = [*_asymmetry(mask), *_border(mask, lab[..., 0]), *_color(mask, lab), *_size(mask), *_texture(mask, lab)]
    return dict(zip(FEATURES, map(float, values), strict=True))


def _asymmetry(mask: np.ndarray) -> list[float]:
    """Return the shares of mask pixels whose mirror image about the major and the minor axis is outside."""
    pixels = np.argwhere(mask)
    angle = _describe(mask).orientation
    across_major = np.array([-np.sin(angle), np.cos(angle)])
    across_minor = np.array([np.cos(angle), np.sin(angle)])
    centred = pixels - pixels.mean(axis=0)
    shares = []
    for normal in (across_major, across_minor):
        mirrored = np.rint(pixels - 2 * np.outer(centred @ normal, normal)).astype(int)
        is_in_image = ((mirrored >= 0) & (mirrored < mask.shape)).all(axis=1)
        shares.append(1 - mask[tuple(mirrored[is_in_image].T)].sum() / len(pixels))
    return shares


def _border(mask: np.ndarray, lightness: np.ndarray) -> list[float]:
    region = _describe(mask)
    compactness = perimeter_crofton(mask) ** 2 / (4 * np.pi * region.area)
    gradient = sobel(lightness)[find_boundaries(mask, mode="inner")]
    steepness = [gradient.mean(), gradient.std()] if gradient.size else [0.0, 0.0]
    return [compactness, region.solidity, region.eccentricity, *steepness]


def _color(mask: np.ndarray, lab: np.ndarray) -> list[float]:
    inside, outside = lab[mask], lab[~mask]
    contrast = inside.mean(axis=0) - outside.mean(axis=0) if len(outside) else np.zeros(3)
    distances = np.linalg.norm(inside[:, None] - rgb2lab(COLORS), axis=-1)
    shares = np.bincount(distances.argmin(axis=1), minlength=len(COLORS)) / len(inside)
    return [*inside.mean(axis=0), *inside.std(axis=0), *contrast, (shares >= MIN_COLOR_SHARE).sum()]


def _size(mask: np.ndarray) -> list[float]:
    return [mask.mean(), _describe(mask).feret_diameter_max / np.hypot(*mask.shape)]


def _texture(mask: np.ndarray, lab: np.ndarray) -> list[float]:
    """Describe pairs of adjacent pixels in the mask in all directions; other pixels get a level that is dropped."""
    levels = np.clip(lab[..., 0] * GREY_LEVELS / 100, 0, GREY_LEVELS - 1).astype(np.uint8)
    levels[~mask] = GREY_LEVELS
    angles = np.arange(4) * np.pi / 4
    pairs = graycomatrix(levels, [1], angles, levels=GREY_LEVELS + 1, symmetric=True)[:GREY_LEVELS, :GREY_LEVELS]
    pairs = pairs.sum(axis=3, keepdims=True)
    shares = pairs[pairs > 0] / max(1, pairs.sum())
    statistics = [graycoprops(pairs, name)[0, 0] for name in ("contrast", "homogeneity")]
    return [*statistics, -np.sum(shares * np.log2(shares))]


def _describe(mask: np.ndarray):  # type: ignore[no-untyped-def]  # scikit-image has no types
    return regionprops(mask.astype(np.uint8))[0]
