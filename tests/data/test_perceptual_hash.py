import io

import numpy as np
import pytest
from PIL import Image

from lesion_segmentation.data.perceptual_hash import HASH_BITS, hash_distances, hash_square, hash_views


@pytest.fixture
def picture(images) -> np.ndarray:
    return images["SYN003"]


def recompressed(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=50)
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize(
    "alter",
    [
        lambda image: image[:, ::-1],
        lambda image: np.rot90(image),
        lambda image: np.rot90(image[::-1], 3),
        recompressed,
        lambda image: np.asarray(Image.fromarray(image).resize((60, 40)).resize((96, 64))),
    ],
)
def test_the_same_picture_in_another_form_is_near(picture, alter):
    distances = hash_distances([hash_views(picture), hash_views(np.ascontiguousarray(alter(picture)))])
    assert distances[0, 1] <= 16
    assert distances[0, 0] == 0


def test_other_pictures_are_far(hashes):
    distances = hash_distances(list(hashes.values()))
    off_diagonal = distances[~np.eye(len(distances), dtype=bool)]
    assert off_diagonal.min() > 46
    assert np.array_equal(distances, distances.T)


def test_half_of_the_bits_are_set(picture):
    assert hash_square(np.asarray(Image.fromarray(picture).convert("L").resize((64, 64)))).sum() == HASH_BITS / 2
