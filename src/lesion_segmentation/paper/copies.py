"""The paper's two copies of each training case: one rotated, one flipped."""

import numpy as np
from PIL import Image

from lesion_segmentation.data.samples import Sample

MAX_ROTATION = 40
"""Degrees. The paper's code samples a whole number of degrees from [-40, 40)."""


def rotate_sample(sample: Sample, generator: np.random.Generator) -> Sample:
    return rotate(sample, int(generator.integers(-MAX_ROTATION, MAX_ROTATION)))


def rotate(sample: Sample, degrees: float) -> Sample:
    """Rotate counter-clockwise about the centre, with bilinear interpolation and a black background.

    As in the paper's code, the mask is interpolated too and rounded down. Only pixels that lie completely inside the
    rotated lesion stay lesion, so the mask shrinks by a fraction of a pixel.
    """
    image = Image.fromarray(sample.image).rotate(degrees, Image.Resampling.BILINEAR)
    mask = Image.fromarray(sample.mask.astype(np.float32)).rotate(degrees, Image.Resampling.BILINEAR)
    return Sample(np.asarray(image), (np.asarray(mask) > 1 - 1e-4).astype(np.uint8))


def flip(sample: Sample, generator: np.random.Generator | None = None) -> Sample:
    """Flip horizontally. The generator, which all functions in COPIES take, is not used."""
    return Sample(np.ascontiguousarray(sample.image[:, ::-1]), np.ascontiguousarray(sample.mask[:, ::-1]))
