"""Pictures and journals damaged at random: a file costs itself only, and only our own errors come out.

Seeded; FUZZED=3000 for more of them.
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
from lesion_segmentation.prediction import PredictionFolder, list_input_images
from lesion_segmentation.prediction.input_images import read_input_image
from lesion_segmentation.prediction.tables import read_tables
from lesion_segmentation.serving.limits import Refusal
from lesion_segmentation.serving.responses import decode

KINDS = {"PNG": "png", "JPEG": "jpg", "BMP": "bmp", "TIFF": "tif", "WEBP": "webp"}
READ, REFUSED = "read", "refused"


def encode(kind: str) -> bytes:
    file = BytesIO()
    Image.fromarray(synthetic.synthesize_case(2).image[:60, :80]).save(file, kind)
    return file.getvalue()


def reason_of(read, expected):
    """The error that reading ends in, none where it does not; any other kind goes through."""
    try:
        read()
    except expected as error:
        return error
    return None


def require_picture(image: np.ndarray) -> None:
    assert image.dtype == np.uint8
    assert image.ndim == 3


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_pictures_are_read_or_refused_in_words(kind, tmp_path):
    whole, generator = encode(kind), np.random.default_rng(0)
    path = tmp_path / f"picture.{KINDS[kind]}"
    ends: Counter[str] = Counter()
    for number in range(FUZZED):
        content = damage(whole, generator, within=200 if number % 2 else None)
        path.write_bytes(content)
        told = reason_of(lambda: require_picture(read_input_image(path)), ValueError)
        ends[READ if told is None else REFUSED] += 1
        assert told is None or str(told)
        refusal = reason_of(lambda content=content: decode(content, 1_000_000), Refusal)
        assert refusal is None or (refusal.status in (413, 415, 422) and refusal.sentence.endswith("."))
    assert ends[REFUSED] > 0


def test_a_picture_that_claims_to_be_huge_is_refused_by_its_header(tmp_path):
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    claimed = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"0" * 1000)) + chunk(b"IEND", b"")
    (tmp_path / "huge.png").write_bytes(claimed)
    with pytest.raises(ValueError, match=r"60000 x 60000 pixels|more than"):
        read_input_image(tmp_path / "huge.png")
    with pytest.raises(Refusal) as refused:
        decode(claimed, 50_000_000)
    assert refused.value.status == 413


def test_a_damaged_journal_costs_its_damaged_lines_only(tmp_path):
    pictures = tmp_path / "in"
    pictures.mkdir()
    for number in range(12):
        Image.new("RGB", (8, 8)).save(pictures / f"{number:02}.png")
    files = list_input_images(pictures)
    generator = np.random.default_rng(0)
    for number in range(FUZZED // 4):
        folder = PredictionFolder(tmp_path / f"out{number}", {"weights": "a"})
        folder.claim()
        for file in files:
            folder.note(file, {"lesion_area": 1, "flag": ""})
        folder.finish(files, files)
        (journal,) = (folder.target / ".predictions").glob("*.jsonl")
        journal.write_bytes(damage(journal.read_bytes(), generator))
        left = folder.left(files)
        assert len(left) < len(files)
        folder = PredictionFolder(folder.target, {"weights": "a"})
        for file in left:
            folder.note(file, {"lesion_area": 1, "flag": ""})
        folder.finish(files, files)
        table = read_tables(folder.target).table
        assert {file.name for file in files} <= set(table["picture"])
