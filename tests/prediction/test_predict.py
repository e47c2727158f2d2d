import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lesion_segmentation.hardware import Hardware
from lesion_segmentation.model import SegNet
from lesion_segmentation.prediction import predict
from lesion_segmentation.prediction.folding import fold_batch_norms

module = importlib.import_module("lesion_segmentation.prediction.predict")


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = SegNet(0.0625).train()
    network.metadata = replace(network.metadata, input_mean=(100.0, 90.0, 80.0), input_std=(50.0, 40.0, 30.0))
    return network


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 40, 48, 3), dtype=np.uint8)


@pytest.fixture(params=["32-true", "bf16-mixed"], autouse=True)
def tolerance(request, monkeypatch):
    """Every test runs in both precisions, whatever this machine computes with: the largest difference allowed."""
    monkeypatch.setattr(module, "choose_hardware", lambda device, precision: Hardware(device, request.param))
    return {"32-true": 1e-5, "bf16-mixed": 0.03}[request.param]


def test_probabilities_with_the_scaling_of_the_metadata(network, pixels, tolerance):
    probabilities = predict(network, pixels, batch_size=2)
    scaled = (torch.tensor(pixels).float() - torch.tensor([100.0, 90, 80])) / torch.tensor([50.0, 40, 30])
    with torch.no_grad():
        expected = network.eval()(scaled.permute(0, 3, 1, 2)).sigmoid()[:, 0]
    assert probabilities.dtype == np.float32
    assert np.allclose(probabilities, expected, atol=tolerance)


def test_mirror_mean_is_the_mean_over_four(network, pixels):
    flips = [(), (1,), (2,), (1, 2)]
    single = [np.flip(predict(network, np.flip(pixels, axes)), axes) for axes in flips]
    assert np.allclose(predict(network, pixels, mirror_mean=True), np.mean(single, axis=0), atol=1e-6)


def test_mirror_mean_commutes_with_mirroring(network, pixels):
    mirrored = predict(network, np.flip(pixels, 2), mirror_mean=True)
    assert np.allclose(mirrored, np.flip(predict(network, pixels, mirror_mean=True), 2), atol=1e-6)


def test_the_network_is_left_as_it_was(network, pixels):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    predict(network, pixels)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_no_images_give_no_maps_and_others_are_refused(network, pixels):
    assert predict(network, pixels[:0]).shape == (0, 40, 48)
    with pytest.raises(ValueError, match="expected uint8"):
        predict(network, pixels / 255)


@pytest.mark.parametrize("logit_batch_norm", [True, False])
def test_folding_leaves_the_function_and_no_batch_norm(pixels, logit_batch_norm):
    torch.manual_seed(0)
    network = SegNet(0.0625, logit_batch_norm=logit_batch_norm).train()
    inputs = torch.tensor(pixels).permute(0, 3, 1, 2) / 255
    for _ in range(3):
        network(inputs)  # running means and variances that differ from 0 and 1
    folded = fold_batch_norms(network)
    with torch.no_grad():
        assert torch.allclose(folded(inputs), network.eval()(inputs), atol=1e-4)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())


def test_the_network_computes_in_the_precision_of_the_hardware(network, pixels, request):
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: seen.append(inputs[0].dtype))
    predict(network, pixels)
    handle.remove()
    assert set(seen) == {torch.bfloat16 if "bf16" in request.node.name else torch.float32}
