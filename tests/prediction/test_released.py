"""The released network: its size, its model card, its use by default, and `kedro verify`."""

import shutil

import marked_tables
import numpy as np
import pytest
import release
import torch
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project
from PIL import Image

from lesion_project.cli import cli
from lesion_segmentation.cli import main
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.hardware import use_threads
from lesion_segmentation.data.sources import synthetic
from lesion_segmentation.model import load_network
from lesion_segmentation.prediction import PredictionSettings, load_predictor
from lesion_segmentation.prediction.verification import verify
from lesion_segmentation.released import WEIGHTS, read_figures

CARD = WEIGHTS.with_name("README.md")


def overlap(mask, truth):
    return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Write four synthetic cases."""
    folder = tmp_path_factory.mktemp("cases")
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for number in range(1, 5):
        case = synthetic.synthesize_case(number)
        Image.fromarray(case.image).save(folder / "images" / f"D{number}.png")
        Image.fromarray(255 * case.mask.astype(np.uint8)).save(folder / "masks" / f"D{number}.png")
    return folder


def test_weights_are_small_and_match_model_card():
    assert WEIGHTS.stat().st_size <= 10_000_000
    assert WEIGHTS.with_name("LICENSE").is_file()
    metadata, card, figures = load_network(WEIGHTS).metadata, CARD.read_text(), read_figures()
    assert metadata.options["annotation_styles"] == ["PH2", "ISIC 2018"]
    assert metadata.keep_largest_component
    assert f"temperature {metadata.temperature:.2f}" in card
    assert metadata.commit in card
    scores = ", ".join(f"{name} {100 * figures[key]:.2f}" for name, key in
                     (("Dice", "dice"), ("IoU", "iou"), ("accuracy", "accuracy")))  # fmt: skip
    assert scores in card
    assert len(metadata.seen) == 1_700
    assert "not a medical device" in card


def test_command_uses_released_weights_by_default(cases, tmp_path):
    result = CliRunner().invoke(main, ["predict", str(cases / "images"), str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    masks = [np.asarray(Image.open(tmp_path / "out" / f"D{number}_mask.png")) > 0 for number in range(1, 5)]
    truths = [synthetic.synthesize_case(number).mask for number in range(1, 5)]
    overlaps = [overlap(mask, truth) for mask, truth in zip(masks, truths, strict=True)]
    assert np.mean(overlaps) > 0.8
    assert min(overlaps) > 0.6


def test_predictor_in_three_lines(cases):
    predictor = load_predictor()
    (prediction,) = predictor([cases / "images" / "D1.png"])
    assert prediction.mask.shape == np.asarray(Image.open(cases / "images" / "D1.png")).shape[:2]


def test_verify_compares_scores_with_expected_ones(cases):
    first = verify(WEIGHTS, cases, {"cases": 4, "dice": 0.5, "iou": 0.5, "accuracy": 0.5})
    assert not first["agrees"].any()
    figures = {"cases": 4} | dict(zip(first["score"], first["found"], strict=True))
    assert verify(WEIGHTS, cases, figures)["agrees"].all()
    truths = [synthetic.synthesize_case(number).mask.astype(bool) for number in range(1, 5)]
    predictor = load_predictor(settings=PredictionSettings(precision="32-true"))
    masks = [each.mask for each in predictor(cases / "images" / f"D{number}.png" for number in range(1, 5))]
    by_hand = np.mean([overlap(mask, truth) for mask, truth in zip(masks, truths, strict=True)])
    assert figures["dice"] == pytest.approx(by_hand)
    with pytest.raises(InputError, match="4 images and 4 masks, expected 200"):
        verify(WEIGHTS, cases, read_figures())


def test_verify_command_fails_on_other_scores(project, cases, monkeypatch):
    shutil.copytree(cases, project / "data" / "01_raw" / "ph2")
    bootstrap_project(project)
    monkeypatch.chdir(project)
    monkeypatch.setattr("lesion_project.cli.read_figures", lambda: {"cases": 4, "dice": 1, "iou": 1, "accuracy": 1})
    result = CliRunner().invoke(cli, ["verify"])
    assert result.exit_code == 1
    assert "100.00 on the model card" in result.output
    assert "differ from the model card" in result.output


@pytest.mark.published
def test_table_of_model_card_matches_results():
    assert marked_tables.rebuild(CARD.read_text(), release.TABLES) == CARD.read_text()


def test_half_precision_weights_are_read_as_float32():
    network = load_network(WEIGHTS)
    assert {tensor.dtype for tensor in network.own_state().values() if tensor.is_floating_point()} == {torch.float32}


def test_verify_command_explains_missing_ph2(project, monkeypatch):
    bootstrap_project(project)
    monkeypatch.chdir(project)
    result = CliRunner().invoke(cli, ["verify"])
    assert result.exit_code == 1
    assert "make ph2 FROM=" in result.output


@pytest.mark.parametrize("flips", ["none", "four"])
def test_logits_depend_neither_on_other_images_nor_on_the_number_of_threads(flips):
    """In float32, oneDNN computes other last bits for another batch size or number of threads."""
    images = np.random.default_rng(0).integers(0, 256, (5, 192, 256, 3), dtype=np.uint8)
    settings = PredictionSettings(device="cpu", precision="32-true", test_time_augmentation=flips)
    try:
        use_threads(1)
        logits = load_predictor(settings=settings).flip_logits(images)
        use_threads(3)
        predictor = load_predictor(settings=settings)
        assert torch.equal(predictor.flip_logits(images), logits)
        assert torch.equal(predictor.flip_logits(images[3:4]), logits[:, 3:4])
    finally:
        use_threads(None)
