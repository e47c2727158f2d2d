import io

import numpy as np
import pytest
from PIL import Image

from lesion_segmentation.data.perceptual_hash import HASH_BITS, hash_distances, hash_square, hash_views


@pytest.fixture
def image(images) -> np.ndarray:
    return images["SYN003"]


def recompress(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=50)
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize(
    "alter",
    [
        lambda image: image[:, ::-1],
        lambda image: np.rot90(image),
        lambda image: np.rot90(image[::-1], 3),
        recompress,
        lambda image: np.asarray(Image.fromarray(image).resize((60, 40)).resize((96, 64))),
    ],
)
def test_altered_image_is_near(image, alter):
    distances = hash_distances([hash_views(image), hash_views(np.ascontiguousarray(alter(image)))])
    assert distances[0, 1] <= 16
    assert distances[0, 0] == 0


def test_different_images_are_far(hashes):
    distances = hash_distances(list(hashes.values()))
    off_diagonal = distances[~np.eye(len(distances), dtype=bool)]
    assert off_diagonal.min() > 46
    assert np.array_equal(distances, distances.T)


def test_half_of_the_bits_are_set(image):
    assert hash_square(np.asarray(Image.fromarray(image).convert("L").resize((64, 64)))).sum() == HASH_BITS / 2
