"""Cases with masks by several annotators: folders, COCO files, the consensus, and the targets of the training."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.annotators import form_consensus
from lesion_segmentation.data.cases import DataSettings, read_cases, resize_masks
from lesion_segmentation.data.samples import choose_targets
from lesion_segmentation.data.sources import synthetic
from lesion_segmentation.data.sources.folder import check_data, find_images, find_masks
from lesion_segmentation.images.read import open_image
from lesion_segmentation.training.augmentation import apply_augmentation, sample_augmentation
from lesion_segmentation.training.optimization import LOSSES, dice_loss
from lesion_segmentation.training.samples import TrainingData, load_samples
from lesion_segmentation.training.settings import OnlineAugmentationSettings

ANNOTATORS = ("grown", "shrunk", "smoothed")
CASES = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("annotated")
    synthetic.write_annotated_cases(folder, CASES)
    return folder


def read(folder, consensus="majority"):
    images = {name: (lambda path=path: open_image(path)) for name, path in find_images(folder / "images").items()}
    table = pd.DataFrame({"case_id": list(images), "diagnosis": ""})
    return read_cases(images, find_masks(folder / "masks"), table, SMALL, DataSettings(consensus=consensus))


def test_subfolders_with_masks_of_the_same_cases_are_annotators(folder):
    cases = read(folder)
    ids = synthetic.case_ids(CASES)
    assert set(cases.annotator_masks) == {f"{case_id}/{name}" for case_id in ids for name in ANNOTATORS}
    for number, case_id in enumerate(ids, start=1):
        masks = synthetic.annotate(synthetic.synthesize_case(number).mask)
        assert np.array_equal(cases.native_masks[case_id], sum(mask.astype(int) for mask in masks.values()) >= 2)
        for name, resized in resize_masks(masks, SMALL).items():
            assert np.array_equal(cases.annotator_masks[f"{case_id}/{name}"], resized)


def test_check_data_counts_the_masks_of_each_annotator(folder):
    text = check_data(folder / "images", folder / "masks", None)
    assert "annotators                 grown 4 masks, shrunk 4 masks, smoothed 4 masks" in text


def test_one_annotator_leaves_no_trace(folder, tmp_path):
    """Subfolders whose masks are of different cases are no annotators."""
    for number, name in enumerate(("site 1", "site 2"), start=1):
        (tmp_path / "masks" / name).mkdir(parents=True)
        mask = folder / "masks" / "grown" / f"SYN00{number}.png"
        (tmp_path / "masks" / name / mask.name).write_bytes(mask.read_bytes())
    (tmp_path / "images").mkdir()
    for number in (1, 2):
        image = folder / "images" / f"SYN00{number}.png"
        (tmp_path / "images" / image.name).write_bytes(image.read_bytes())
    cases = read(tmp_path)
    assert cases.annotator_masks == {}
    assert "annotators" not in check_data(tmp_path / "images", tmp_path / "masks", None)


def test_ambiguous_folders_are_refused(folder, tmp_path):
    mask = Image.open(folder / "masks" / "grown" / "SYN001.png")
    for name in ("anna/a.png", "ben/a.png", "ben/a_mask.png", "ben/b.png", "c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        mask.save(tmp_path / name)
    with pytest.raises(InputError) as caught:
        find_masks(tmp_path)
    assert "a: there are two masks, 'ben/a.png' and 'ben/a_mask.png'" in str(caught.value)
    assert "c: 'c.png' is outside the subfolders of the annotators" in str(caught.value)
    (tmp_path / "c.png").unlink()
    (tmp_path / "ben" / "a_mask.png").unlink()
    assert {name: list(readers) for name, readers in find_masks(tmp_path).items()} == {
        "a": ["anna", "ben"],
        "b": ["ben"],
    }


def test_masks_of_different_sizes_and_damaged_masks_are_reported(folder, tmp_path):
    (tmp_path / "images").mkdir()
    for number, sizes in enumerate([(40, 40), (40, 41)], start=1):
        Image.fromarray(np.full((40, 40, 3), 9 * number, np.uint8)).save(tmp_path / "images" / f"{number}.png")
        for name, size in zip(("anna", "ben"), ((40, 40), sizes), strict=True):
            path = tmp_path / "masks" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.eye(*size, dtype=bool)).save(path)
    (tmp_path / "masks" / "ben" / "1.png").write_bytes(b"damaged")
    with pytest.raises(InputError) as caught:
        check_data(tmp_path / "images", tmp_path / "masks", None)
    assert "1: the mask of ben cannot be used" in str(caught.value)
    assert "2: its masks have different sizes (anna 40 x 40, ben 41 x 40)" in str(caught.value)


def test_annotators_of_a_coco_file(tmp_path):
    square = [[0, 0, 10, 0, 10, 10, 0, 10]]
    names = [(1, "anna"), (1, "ben"), (1, "ben"), (2, "ben")]
    annotations = [{"image_id": image, "annotator": name, "segmentation": square} for image, name in names]
    images = [{"id": number, "file_name": f"{number}.png", "width": 40, "height": 30} for number in (1, 2, 3)]
    content = {"images": images, "annotations": annotations, "categories": [{"name": "lesion"}]}
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content))
    found = find_masks(path)
    assert [list(found[name]) for name in ("1", "2")] == [["anna", "ben"], ["ben"]]
    assert np.asarray(found["1"]["ben"]()).sum() == 100
    assert not np.asarray(found["3"]()).any()
    del annotations[3]["annotator"]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="1 of 4 annotations name no annotator, expected all"):
        find_masks(path)


@given(arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6))))
def test_majority_marks_what_at_least_half_of_the_annotators_mark(masks):
    consensus = form_consensus([*masks])
    for pixel in np.ndindex(consensus.shape):
        votes = [bool(mask[pixel]) for mask in masks]
        assert consensus[pixel] == (votes.count(True) >= votes.count(False))
    assert np.array_equal(consensus, form_consensus([*masks], "soft"))


def estimate_truth(masks: np.ndarray) -> np.ndarray:
    """STAPLE after Warfield, Zou and Wells (2004), equations 14, 15, 18 and 19, with one prior for all pixels."""
    prior, sensitivity, specificity = masks.mean(), np.full(len(masks), 0.99999), np.full(len(masks), 0.99999)
    for _ in range(200):
        p, q = sensitivity[:, None, None], specificity[:, None, None]
        lesion = prior * np.where(masks, p, 1 - p).prod(axis=0)
        skin = (1 - prior) * np.where(masks, 1 - q, q).prod(axis=0)
        weight = lesion / (lesion + skin)
        sensitivity = (masks * weight).sum(axis=(1, 2)) / weight.sum()
        specificity = (~masks * (1 - weight)).sum(axis=(1, 2)) / (1 - weight).sum()
    return weight


def test_staple_equals_the_published_algorithm():
    generator = np.random.default_rng(0)
    truth = synthetic.synthesize_case(1).mask[::4, ::4]
    errors = (0.02, 0.05, 0.1, 0.3, 0.3)
    masks = np.stack([truth ^ (generator.random(truth.shape) < error) for error in errors])
    found = form_consensus([*masks], "staple")
    assert np.array_equal(found, estimate_truth(masks) >= 0.5)
    assert not np.array_equal(found, form_consensus([*masks]))
    assert (found ^ truth).mean() < (form_consensus([*masks]) ^ truth).mean()
    assert not form_consensus([np.zeros((9, 9), bool)] * 2, "staple").any()


def test_missing_simpleitk_is_explained_before_any_case_is_read(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(InputError, match=r"pip install 'lesion-segmentation\[consensus\]'"):
        read(folder, "staple")


def test_soft_targets_are_means_of_the_training_cases_only(folder):
    cases = read(folder, "soft")
    masks = resize_masks(cases.native_masks, SMALL)
    ids = list(masks)
    samples = pd.DataFrame({"sample_id": ids, "subset": ["train", "train", "validation", "test"]})
    targets = choose_targets(masks, cases.annotator_masks, samples, DataSettings(consensus="soft"))
    assert list(targets) == ids[:3]
    mean = sum(cases.annotator_masks[f"{ids[1]}/{name}"].astype(float) for name in ANNOTATORS) / 3
    assert np.allclose(targets[ids[1]], mean)
    assert targets[ids[2]] is masks[ids[2]]
    assert choose_targets(masks, cases.annotator_masks, samples, DataSettings()) is masks
    assert choose_targets(masks, {}, samples, DataSettings(consensus="soft")) is masks

    train = load_samples(TrainingData(cases.images, targets, samples).select("train"), "cpu")
    pixels, batch = train.batch(torch.arange(2))
    assert np.allclose(batch[1, 0], mean)
    parameters = sample_augmentation(2, 64, 96, OnlineAugmentationSettings(), torch.Generator().manual_seed(0))
    _, moved = apply_augmentation(pixels, batch, parameters, soft=True)
    assert ((moved > 0.1) & (moved < 0.9)).any()
    assert 0 <= moved.min() <= moved.max() <= 1 + 1e-6


def test_cross_entropy_learns_the_mean_and_overlap_the_majority():
    mean = torch.tensor([0.0, 1 / 3, 0.5, 1.0]).view(1, 1, 2, 2)
    logits = torch.tensor([-9.0, -0.5, 0.5, 9.0]).view(1, 1, 2, 2).requires_grad_()
    gradient = torch.autograd.grad(LOSSES["bce"](logits, mean), logits)[0]
    assert torch.allclose(gradient, (logits.sigmoid() - mean) / 4)
    majority = torch.tensor([0.0, 0.0, 1.0, 1.0]).view(1, 1, 2, 2)
    both = LOSSES["bce_dice"](logits, mean)
    assert torch.allclose(both, LOSSES["bce"](logits, mean) + dice_loss(logits, majority))
