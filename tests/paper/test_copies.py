import numpy as np
from scipy.ndimage import rotate as scipy_rotate

from lesion_segmentation.data.samples import Sample
from lesion_segmentation.paper.copies import flip, rotate


def test_image_and_mask_rotate_together():
    mask = np.zeros((81, 121), np.uint8)
    mask[20:40, 30:70] = 1
    image = np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)
    rotated = rotate(Sample(image, mask), 25)
    assert set(np.unique(rotated.mask)) == {0, 1}
    seen = rotated.image[..., 0] > 127
    assert (seen & rotated.mask.astype(bool)).sum() == rotated.mask.sum()  # the mask only shrinks
    assert rotated.image[rotated.mask.astype(bool)].min() >= 254  # only pixels completely inside the lesion stay lesion
    assert rotated.mask.sum() > 0.85 * seen.sum()
    reference = scipy_rotate(mask.astype(float), 25, reshape=False, order=1) > 0.5
    assert (reference != seen).mean() < 0.005


def test_flipping_twice_changes_nothing(images, masks):
    sample = Sample(images["SYN001"], masks["SYN001"])
    assert all(np.array_equal(a, b) for a, b in zip(flip(flip(sample)), sample, strict=True))
