"""The paper's copies of each training case: one turned, one mirrored."""

import numpy as np
from PIL import Image

from lesion_segmentation.data.samples import Sample

MAX_ROTATION = 40
"""Degrees; the paper's code draws a whole number of degrees from [-40, 40)."""


def rotate_sample(sample: Sample, generator: np.random.Generator) -> Sample:
    return rotate(sample, int(generator.integers(-MAX_ROTATION, MAX_ROTATION)))


def flip_sample(sample: Sample, generator: np.random.Generator) -> Sample:
    """Mirror left and right; nothing is drawn."""
    return flip(sample)


def rotate(sample: Sample, degrees: float) -> Sample:
    """Turn counter-clockwise about the centre, bilinear, black outside.

    The mask is interpolated too and cut to whole numbers, as in the paper's code: only pixels that are lesion
    through and through stay lesion, so it shrinks by part of a pixel.
    """
    image = Image.fromarray(sample.image).rotate(degrees, Image.Resampling.BILINEAR)
    mask = Image.fromarray(sample.mask.astype(np.float32)).rotate(degrees, Image.Resampling.BILINEAR)
    return Sample(np.asarray(image), (np.asarray(mask) > 1 - 1e-4).astype(np.uint8))


def flip(sample: Sample) -> Sample:
    """Mirror left and right."""
    return Sample(np.ascontiguousarray(sample.image[:, ::-1]), np.ascontiguousarray(sample.mask[:, ::-1]))
