"""Images and part files with random damage: a damaged file affects no other, and every error is one of this project.

The damage is seeded. Set FUZZED=3000 for more cases.
"""

import struct
import zlib
from collections import Counter
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from test_fuzz import FUZZED, damage

from lesion_segmentation.data.sources import synthetic
from lesion_segmentation.prediction import PredictionStore, list_input_images
from lesion_segmentation.prediction.input_images import SelectedImages, read_input_image
from lesion_segmentation.serving.limits import Refusal
from lesion_segmentation.serving.responses import decode

KINDS = {"PNG": "png", "JPEG": "jpg", "BMP": "bmp", "TIFF": "tif", "WEBP": "webp"}
READ, REFUSED = "read", "refused"


def encode(kind: str) -> bytes:
    file = BytesIO()
    Image.fromarray(synthetic.synthesize_case(2).image[:60, :80]).save(file, kind)
    return file.getvalue()


def find_error(read, expected):
    """Return the error of the expected type that reading raises, or None."""
    try:
        read()
    except expected as error:
        return error
    return None


def require_image(image: np.ndarray) -> None:
    assert image.dtype == np.uint8
    assert image.ndim == 3


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_images_are_read_or_refused_with_reason(kind, tmp_path):
    whole, generator = encode(kind), np.random.default_rng(0)
    path = tmp_path / f"image.{KINDS[kind]}"
    ends: Counter[str] = Counter()
    for number in range(FUZZED):
        content = damage(whole, generator, within=200 if number % 2 else None)
        path.write_bytes(content)
        error = find_error(lambda: require_image(read_input_image(path).pixels), ValueError)
        ends[READ if error is None else REFUSED] += 1
        assert error is None or str(error)
        refusal = find_error(lambda content=content: decode(content, 1_000_000, (192, 256)), Refusal)
        assert refusal is None or (refusal.status_code in (413, 415, 422) and refusal.detail.endswith("."))
    assert ends[REFUSED] > 0


def test_image_with_huge_size_in_header_is_refused(tmp_path):
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    claimed = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"0" * 1000)) + chunk(b"IEND", b"")
    (tmp_path / "huge.png").write_bytes(claimed)
    with pytest.raises(ValueError, match=r"60000 x 60000 pixels|too many pixels"):
        read_input_image(tmp_path / "huge.png")
    with pytest.raises(Refusal) as refused:
        decode(claimed, 50_000_000, (192, 256))
    assert refused.value.status_code == 413


def test_damaged_part_file_loses_only_damaged_rows(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for number in range(12):
        Image.new("RGB", (8, 8)).save(source / f"{number:02}.png")
    files = list_input_images(source)
    images = SelectedImages(files, files)
    generator = np.random.default_rng(0)
    for number in range(FUZZED // 4):
        out = tmp_path / f"out{number}"
        store = PredictionStore(out)
        store.claim({"weights": "a"})
        for file in files:
            store.add(file, {"lesion_area": 1, "flag": ""})
        store.finish(images)
        (part,) = (out / ".predictions").glob("*.jsonl")
        part.write_bytes(damage(part.read_bytes(), generator))
        remaining = store.find_remaining(files)
        assert len(remaining) < len(files)
        store = PredictionStore(out)
        store.claim({"weights": "a"})
        for file in remaining:
            store.add(file, {"lesion_area": 1, "flag": ""})
        store.finish(images)
        assert {file.name for file in files} <= set(store.read_tables().table["image"])
