"""Masks from files of annotation tools: COCO and LabelMe."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco

from lesion_segmentation.cli import main
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.sources.annotation_files import _decompress, open_mask, read_coco
from lesion_segmentation.data.sources.folder import find_masks
from lesion_segmentation.images.read import to_mask

SQUARE = [[10, 10], [20, 10], [20, 15], [10, 15]]
FLAT = [10, 10, 20, 10, 20, 15, 10, 15]


def labelme(**changes) -> dict:
    shape = {"label": "lesion", "points": SQUARE, "shape_type": "polygon", "flags": {}}
    file = {"imageWidth": 40, "imageHeight": 30, "imageData": None, "shapes": [shape | changes.pop("shape", {})]}
    return file | changes


def coco_file(segmentation, **changes) -> dict:
    images = [{"id": 7, "file_name": "site/a.png", "width": 40, "height": 30}]
    annotations = [{"id": 1, "image_id": 7, "category_id": 3, "segmentation": segmentation, "iscrowd": 0}]
    return {"images": images, "annotations": annotations, "categories": [{"id": 3, "name": "lesion"}]} | changes


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def expected_square() -> np.ndarray:
    mask = np.zeros((30, 40), dtype=bool)
    mask[10:15, 10:20] = True
    return mask


def test_labelme_polygons_become_masks(tmp_path):
    assert np.array_equal(to_mask(open_mask(write(tmp_path / "a.json", labelme()))), expected_square())
    assert not to_mask(open_mask(write(tmp_path / "b.json", labelme(shapes=[])))).any()


@pytest.mark.parametrize("compress", [True, False])
def test_coco_polygons_and_encodings_become_masks(tmp_path, compress):
    (read,) = read_coco(write(tmp_path / "coco.json", coco_file([FLAT])))[1].values()
    assert np.array_equal(to_mask(read()), expected_square())
    runs = [314, 5, *[25, 5] * 9, 611]
    counts = coco.frPyObjects({"size": [30, 40], "counts": runs}, 30, 40)["counts"].decode() if compress else runs
    (read,) = read_coco(write(tmp_path / "rle.json", coco_file({"size": [30, 40], "counts": counts})))[1].values()
    expected = coco.decode(coco.frPyObjects({"size": [30, 40], "counts": runs}, 30, 40)).astype(bool)
    assert np.array_equal(to_mask(read()), expected)


@settings(max_examples=60, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_compressed_runs_are_those_of_pycocotools(mask):
    counts = _decompress(coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode())
    runs = np.repeat(np.arange(len(counts)) % 2, counts)
    assert np.array_equal(runs.reshape(mask.shape, order="F"), mask)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (labelme(shape={"label": "hair"}), "shapes.0.label is 'hair', expected 'lesion'"),
        (labelme(shape={"shape_type": "circle"}), "shapes.0.shape_type is 'circle', expected 'polygon'"),
        (labelme(shape={"points": SQUARE[:2]}), "at least 3 items"),
        (labelme(shape={"points": [*SQUARE, [40, 31.5]]}), r"the point \(40, 31.5\) lies outside the image of 40 x 30"),
        (labelme(shape={"points": [*SQUARE, [float("nan"), 3]]}), "finite number"),
        (labelme(imageWidth=None), "imageWidth is None"),
        (labelme(imageWidth=10**6, imageHeight=10**6), "expected at most 100,000,000"),
        ({"images": []}, "shapes is missing"),
        ([1], "a JSON list, expected an object"),
    ],
)
def test_unusable_labelme_files_are_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        open_mask(write(tmp_path / "a.json", content))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([FLAT[:-1]], "7 coordinates"),
        ([[*FLAT, 10, 3000]], "outside the image"),
        ({"size": [40, 30], "counts": [1200]}, r"the size \[40, 30\], expected \[30, 40\]"),
        ({"size": [30, 40], "counts": [10, 20]}, "30 pixels together, expected 1200"),
        ({"size": [30, 40], "counts": "1O"}, "expected 1200|within a number"),
        ({"size": [30, 40], "counts": "ä"}, "the character 'ä'"),
    ],
)
def test_unusable_coco_objects_are_refused(tmp_path, segmentation, message):
    (read,) = find_masks(write(tmp_path / "coco.json", coco_file(segmentation))).values()
    with pytest.raises(ValueError, match=message):
        read()


def test_all_problems_of_a_coco_file_are_listed(tmp_path):
    content = coco_file([FLAT])
    content["images"] += [content["images"][0] | {"file_name": "b.png"}, content["images"][0] | {"id": 8}]
    content["annotations"].append(content["annotations"][0] | {"image_id": 99})
    with pytest.raises(InputError) as caught:
        find_masks(write(tmp_path / "coco.json", content))
    for words in ("2 images have the id 7", "a: there are two images", "the image_id 99, which no image has"):
        assert words in str(caught.value)
    content = coco_file([[1, 2]], categories=[{"id": 1, "name": "nevus"}])
    with pytest.raises(InputError) as caught:
        find_masks(write(tmp_path / "coco.json", content))
    assert "categories.0.name is 'nevus', expected 'lesion'" in str(caught.value)
    assert "at least 6 items" in str(caught.value)
    with pytest.raises(InputError, match="at least 1 item"):  # a box without an outline is no mask
        find_masks(write(tmp_path / "coco.json", coco_file([])))
    (tmp_path / "coco.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        find_masks(tmp_path / "coco.json")
    (tmp_path / "coco.json").write_text("[]")
    with pytest.raises(InputError, match="a JSON list, expected an object"):
        find_masks(tmp_path / "coco.json")


def test_labelme_files_are_found_beside_images(tmp_path):
    for name in ("a", "b"):
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        write(tmp_path / f"{name}.json", labelme())
    found = find_masks(tmp_path)
    assert sorted(found) == ["a", "b"]
    assert np.array_equal(to_mask(found["a"]()), expected_square())
    done = CliRunner().invoke(main, ["check-data", str(tmp_path), str(tmp_path)])
    assert done.exit_code == 0, done.output
    (tmp_path / "b.json").unlink()
    write(tmp_path / "a.json", labelme(imageWidth=50))
    done = CliRunner().invoke(main, ["check-data", str(tmp_path), str(tmp_path)])
    assert done.exit_code == 1
    assert "b: the mask cannot be used" in done.output
    assert "a: the image is 40 x 30, but its mask 50 x 30" in done.output


def test_labelme_files_and_images_are_masks_of_one_folder(tmp_path):
    Image.fromarray(expected_square()).save(tmp_path / "a_mask.png")
    write(tmp_path / "license.json", {})
    write(tmp_path / "b.json", labelme())
    (tmp_path / "c.json").write_text(json.dumps(labelme())[:150])
    found = find_masks(tmp_path)
    assert sorted(found) == ["a", "b", "c"]
    for case_id in ("a", "b"):
        assert np.array_equal(to_mask(found[case_id]()), expected_square())
    with pytest.raises(ValueError, match="cannot be read as JSON"):
        found["c"]()
    write(tmp_path / "a.json", labelme())
    with pytest.raises(InputError, match=r"a: there are two masks, 'a_mask\.png' and 'a\.json'"):
        find_masks(tmp_path)
