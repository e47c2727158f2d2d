"""Temperature scaling of logits with a known temperature, and the node that stores the temperature."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit

from lesion_project.pipelines.training.nodes import calibrate_network
from lesion_segmentation.evaluation.calibration import apply_temperature, fit_temperature, measure_ece
from lesion_segmentation.model import NetworkMetadata, build_network
from lesion_segmentation.training.settings import TrainingSettings


def sample_logits(temperature, views=1, seed=0):
    """Sample calibrated logits, multiply them by the temperature, and sample the masks from the calibrated ones."""
    generator = np.random.default_rng(seed)
    calibrated = generator.normal(0, 2, (4, 64, 64))
    masks = (generator.random(calibrated.shape) < expit(calibrated)).astype(np.uint8)
    return np.repeat(temperature * calibrated[None], views, axis=0), masks


@pytest.mark.parametrize("temperature", [0.5, 2.0, 5.0])
def test_known_temperature_is_recovered(temperature):
    logits, masks = sample_logits(temperature, views=2)
    assert fit_temperature(logits, masks) == pytest.approx(temperature, rel=0.1)


def test_temperature_lowers_calibration_error():
    logits, masks = sample_logits(3.0)
    before, after = (
        measure_ece(apply_temperature(logits, each), masks) for each in (1.0, fit_temperature(logits, masks))
    )
    assert after < 0.02 < before


def test_calibrated_probabilities_keep_temperature_1():
    logits = np.full((1, 1, 8, 8), np.log(3.0))
    masks = np.zeros((1, 8, 8), np.uint8)
    masks.reshape(-1)[:48] = 1  # three quarters, as the logits predict
    assert fit_temperature(logits, masks) == 1.0


def test_node_stores_temperature_and_leaves_its_input_unchanged():
    torch.manual_seed(0)
    network = build_network(
        NetworkMetadata("segnet_skip", {"width": 0.0625, "annotation_styles": ["A", "B"]}, (64, 64))
    )
    generator = np.random.default_rng(0)
    ids = [f"c{number}" for number in range(6)]
    images = {name: generator.integers(0, 256, (64, 64, 3), dtype=np.uint8) for name in ids}
    masks = {name: (generator.random((64, 64)) < 0.5).astype(np.uint8) for name in ids}
    samples = pd.DataFrame({"sample_id": ids, "subset": ["validation"] * 5 + ["test"], "source": ["A", "B"] * 3})
    settings = TrainingSettings(precision="32-true")
    calibrated = calibrate_network(network, images, masks, samples, settings)
    assert network.metadata.temperature == 1.0
    maps = {"A": 0, "B": 1}
    logits = []
    for name, source in zip(ids[:5], samples["source"], strict=False):
        with torch.no_grad():
            pixels = torch.from_numpy(images[name]).permute(2, 0, 1)[None].float()
            logits.append(network.eval()(pixels)[0, maps[source]].numpy())
    by_hand = fit_temperature(np.stack(logits)[None], np.stack([masks[name] for name in ids[:5]]))
    assert calibrated.metadata.temperature == pytest.approx(by_hand, rel=0.02)
    assert calibrated.metadata.expected_dice == ()  # too few cases
    ids = [f"c{number}" for number in range(24)]
    many = samples.iloc[[0] * 24].assign(sample_id=ids)
    images, masks = (dict.fromkeys(ids, each["c0"]) for each in (images, masks))
    knots = calibrate_network(network, images, masks, many, settings).metadata.expected_dice
    assert len(knots) == 1  # all cases are equal
    assert 0 < knots[0][1] < 1
    off = calibrate_network(network, images, masks, samples, TrainingSettings(calibrate=False))
    none = calibrate_network(network, images, masks, samples.assign(subset="train"), settings)
    assert off.metadata.temperature == none.metadata.temperature == 1.0
