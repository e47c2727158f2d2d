"""Outlines for annotation tools, and the ranking of images by the disagreement between flips."""

import json
from itertools import combinations
from pathlib import Path
from urllib.parse import unquote

import fsspec
import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from pycocotools.coco import COCO

from lesion_segmentation.cli import main
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.storage import find_location
from lesion_segmentation.data.sources.annotation_files import open_mask
from lesion_segmentation.data.sources.folder import find_masks
from lesion_segmentation.data.sources.synthetic import synthesize_case
from lesion_segmentation.images.read import to_mask
from lesion_segmentation.prediction import list_input_images
from lesion_segmentation.prediction.annotations import make_annotations
from lesion_segmentation.prediction.networks import measure_disagreement


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Create synthetic images, some in a subfolder with a blank in its name."""
    folder = tmp_path_factory.mktemp("in")
    (folder / "ward 2").mkdir()
    for number in range(1, 6):
        path = folder / ("ward 2" if number > 3 else ".") / f"case{number}.png"
        Image.fromarray(synthesize_case(number).image).save(path)
    return folder


def run(*arguments) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result.exit_code, result.output


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def mask_of(folder: Path, name: str) -> np.ndarray:
    return to_mask(Image.open(folder / name.replace(".png", "_mask.png")))


def test_coco_file_gives_the_masks_to_its_own_reader(images, tmp_path):
    out = tmp_path / "out"
    code, output = run("predict", images, out, "--annotations", "coco")
    assert code == 0, output
    reader = COCO(out / "annotations_coco.json")
    assert [each["file_name"] for each in reader.imgs.values()] == [
        "case1.png", "case2.png", "case3.png", "ward 2/case4.png", "ward 2/case5.png",
    ]  # fmt: skip
    for image in reader.imgs.values():
        (annotation,) = reader.loadAnns(reader.getAnnIds(image["id"]))
        mask = mask_of(out, image["file_name"])
        assert mask.shape == (image["height"], image["width"])
        assert annotation["area"] == mask.sum()
        assert dice(reader.annToMask(annotation).astype(bool), mask) >= 0.99
        left, top, width, height = annotation["bbox"]
        assert mask[int(top) : int(top + height), int(left) : int(left + width)].sum() == mask.sum()
    read = find_masks(out / "annotations_coco.json")
    assert dice(to_mask(read["case4"]()), mask_of(out, "ward 2/case4.png")) >= 0.99


def test_holes_need_an_encoding_and_empty_masks_no_object(tmp_path):
    solid = np.zeros((30, 40), dtype=bool)
    solid[5:25, 5:35] = True
    ring = solid.copy()
    ring[10:20, 10:20] = False
    masks = {"empty": np.zeros_like(solid), "ring": ring, "solid": solid}
    for name, mask in masks.items():
        Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / f"{name}.png")
        (tmp_path / "out").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "out" / f"{name}_mask.png")
    files = [file for file in list_input_images(tmp_path) if "/" not in file.name]
    ((name, content),) = make_annotations("coco", files, tmp_path / "out")
    (tmp_path / name).write_bytes(content)
    assert [type(each["segmentation"]) for each in json.loads(content)["annotations"]] == [dict, list]
    for case_id, read in find_masks(tmp_path / name).items():
        assert np.array_equal(to_mask(read()), masks[case_id])
    shapes = {
        name: json.loads(content)["shapes"] for name, content in make_annotations("labelme", files, tmp_path / "out")
    }
    assert [len(each) for each in shapes.values()] == [0, 1, 1]
    (tmp_path / "out" / "ring_mask.png").unlink()
    with pytest.raises(InputError, match=r"ring_mask\.png"):
        list(make_annotations("coco", files, tmp_path / "out"))


def test_corrected_labelme_files_are_kept(images, tmp_path):
    out = tmp_path / "out"
    run("predict", images, out)
    run("predict", images, out, "--annotations", "labelme")  # without predicting again
    files = sorted((out / "labelme").rglob("*.json"))
    assert [file.relative_to(out / "labelme").as_posix() for file in files] == [
        "case1.json", "case2.json", "case3.json", "ward 2/case4.json", "ward 2/case5.json",
    ]  # fmt: skip
    for file in files:
        content = json.loads(file.read_text())
        image = file.parent / content["imagePath"]
        assert image.resolve() == images / file.relative_to(out / "labelme").with_suffix(".png")
        assert content["imageData"] is None
        mask = mask_of(out, file.relative_to(out / "labelme").with_suffix(".png").as_posix())
        assert dice(to_mask(open_mask(file)), mask) >= 0.99
    files[0].write_text("corrected")
    files[1].unlink()
    run("predict", images, out, "--annotations", "labelme")
    assert files[0].read_text() == "corrected"
    assert files[1].is_file()


def test_label_studio_tasks_have_polygons_in_percent(images, tmp_path):
    out = tmp_path / "out"
    run("predict", images, out, "--annotations", "label-studio")
    tasks = json.loads((out / "annotations_label_studio.json").read_text())
    assert len(tasks) == 5
    for task in tasks:
        name = unquote(task["data"]["image"].removeprefix("/data/local-files/?d="))
        mask = mask_of(out, name)
        ((result,),) = (prediction["result"] for prediction in task["predictions"])
        assert (result["original_height"], result["original_width"]) == mask.shape
        points = np.array(result["value"]["points"])
        assert (points >= 0).all()
        assert (points <= 100).all()
        x, y = (points * (mask.shape[1] / 100, mask.shape[0] / 100)).T
        area = abs((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2
        assert area == pytest.approx(mask.sum(), rel=0.02)


def test_shards_and_object_stores_share_one_file(images):
    fs = fsspec.filesystem("memory")
    for shard in ("1/2", "2/2"):
        code, output = run(
            "predict", images, "memory://annotated/out", "--shard", shard, "--annotations", "coco", "--rank"
        )
        assert code == 0, output
    content = json.loads(fs.cat_file("/annotated/out/annotations_coco.json"))
    assert [len(content[part]) for part in ("images", "annotations")] == [5, 5]
    assert fs.cat_file("/annotated/out/ranking.csv").count(b"\n") == 6
    code, output = run("predict", images, "memory://annotated/out", "--annotations", "labelme")
    assert code == 0, output
    file = json.loads(fs.cat_file("/annotated/out/labelme/ward 2/case4.json"))
    assert file["imagePath"] == "case4.png"  # the file belongs beside the image
    fs.pipe_file("/annotated/out/labelme/ward 2/case4.json", b"corrected")
    images = list_input_images(images)
    new = dict(make_annotations("labelme", images, find_location("memory://annotated/out")))
    assert new == {}


def test_disagreement_is_the_pooled_dice_between_flips():
    masks = np.random.default_rng(0).random((4, 3, 8, 9)) > 0.5
    masks[:, 1] = masks[0, 1]
    masks[:, 2] = False
    found = measure_disagreement(torch.from_numpy(masks))
    pairs = list(combinations(masks[:, 0], 2))
    pooled = 2 * sum((one & other).sum() for one, other in pairs) / sum(one.sum() + other.sum() for one, other in pairs)
    assert found == pytest.approx([1 - pooled, 0, 0])
    assert measure_disagreement(torch.from_numpy(masks[:1])) == [None] * 3


def test_ranking_begins_with_the_largest_disagreement(images, tmp_path):
    code, output = run("predict", images, tmp_path / "out", "--rank")
    assert code == 0, output
    ranking = pd.read_csv(tmp_path / "out" / "ranking.csv", keep_default_na=False)
    table = pd.read_csv(tmp_path / "out" / "predictions.csv", keep_default_na=False)
    expected = table.sort_values("disagreement", ascending=False)[list(ranking)].reset_index(drop=True)
    pd.testing.assert_frame_equal(ranking, expected)
    assert ranking["disagreement"].between(0, 1).all()
    assert len(set(ranking["disagreement"])) > 1


def test_ranking_is_refused_without_flips(images, tmp_path):
    code, output = run("predict", images, tmp_path / "out", "--rank", "--no-tta")
    assert code == 1
    assert "test-time augmentation is off and there are no flips to compare" in output
    assert not (tmp_path / "out").exists()
    code, output = run("predict", images, tmp_path / "out", "--no-tta")
    assert code == 0, output
    assert set(pd.read_csv(tmp_path / "out" / "predictions.csv", keep_default_na=False)["disagreement"]) == {""}
