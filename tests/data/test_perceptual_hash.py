import io

import numpy as np
import pytest
from PIL import Image

from lesion_segmentation.data.perceptual_hash import HASH_BITS, find_similar_pairs, hash_square, hash_views


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
    hashes, altered = hash_views(image), hash_views(np.ascontiguousarray(alter(image)))
    assert find_similar_pairs([hashes, altered, hashes], HASH_BITS)[1] == (0, 2, 0)
    assert find_similar_pairs([hashes, altered], HASH_BITS)[0][2] <= 16


def test_different_images_are_far(hashes):
    values, last = list(hashes.values()), len(hashes) - 1
    pairs = find_similar_pairs(values, HASH_BITS)
    assert len(pairs) == len(hashes) * last / 2
    assert min(bits for _, _, bits in pairs) > 46
    backward = find_similar_pairs(values[::-1], HASH_BITS)
    assert sorted((last - j, last - i, bits) for i, j, bits in backward) == sorted(pairs)


def test_half_of_the_bits_are_set(image):
    assert hash_square(np.asarray(Image.fromarray(image).convert("L").resize((64, 64)))).sum() == HASH_BITS / 2
