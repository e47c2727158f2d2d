import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lesion_segmentation.core.hardware import Hardware
from lesion_segmentation.images.resize import resize_image, restore_probability
from lesion_segmentation.model import SegNet
from lesion_segmentation.prediction import Predictor, predict
from lesion_segmentation.prediction.fusing import fuse_batch_norms

module = importlib.import_module("lesion_segmentation.prediction.predictor")


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = SegNet(0.0625).train()
    for _ in range(30):  # running statistics with which its output is not one half everywhere
        network(torch.randn(2, 3, 40, 48))
    network.metadata = replace(network.metadata, input_mean=(100.0, 90.0, 80.0), input_std=(50.0, 40.0, 30.0))
    return network


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 40, 48, 3), dtype=np.uint8)


@pytest.fixture(params=["32-true", "bf16-mixed"], autouse=True)
def tolerance(request, monkeypatch):
    """Every test runs in both precisions, whatever this machine computes with: the difference allowed."""
    monkeypatch.setattr(
        module, "choose_hardware", lambda device, precision: Hardware(device.replace("auto", "cpu"), request.param)
    )
    return {"32-true": 1e-5, "bf16-mixed": 0.03}[request.param]


def test_probabilities_with_the_scaling_of_the_metadata(network, pixels, tolerance):
    probabilities = predict(network, pixels, batch_size=2)
    scaled = (torch.tensor(pixels).float() - torch.tensor([100.0, 90, 80])) / torch.tensor([50.0, 40, 30])
    with torch.no_grad():
        expected = network.eval()(scaled.permute(0, 3, 1, 2)).sigmoid()[:, 0]
    assert probabilities.dtype == np.float32
    assert probabilities.std() > 0.05
    difference = np.abs(probabilities - expected.numpy())
    assert difference.mean() < tolerance
    assert difference.max() < (10 if tolerance < 0.01 else 20) * tolerance  # in bf16 a maximum may change its place


def test_four_views_are_the_picture_and_its_mirror_images(network, pixels):
    flips = [(), (1,), (2,), (1, 2)]
    single = [np.flip(predict(network, np.flip(pixels, axes)), axes) for axes in flips]
    assert np.allclose(predict(network, pixels, test_time_augmentation="four"), np.mean(single, axis=0), atol=1e-6)


def test_four_views_commute_with_mirroring(network, pixels):
    mirrored = predict(network, np.flip(pixels, 2), test_time_augmentation="four")
    assert np.allclose(mirrored, np.flip(predict(network, pixels, test_time_augmentation="four"), 2), atol=1e-6)


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
def test_fusing_leaves_the_function_and_no_batch_norm(pixels, logit_batch_norm):
    torch.manual_seed(0)
    network = SegNet(0.0625, logit_batch_norm=logit_batch_norm).train()
    inputs = torch.tensor(pixels).permute(0, 3, 1, 2) / 255
    for _ in range(3):
        network(inputs)  # running means and variances that differ from 0 and 1
    fused = fuse_batch_norms(network)
    with torch.no_grad():
        assert torch.allclose(fused(inputs), network.eval()(inputs), atol=1e-4)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in fused.modules())


def test_the_network_computes_in_the_precision_of_the_hardware(network, pixels, request):
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: seen.append(inputs[0].dtype))
    predict(network, pixels)
    handle.remove()
    assert set(seen) == {torch.bfloat16 if "bf16" in request.node.name else torch.float32}


def test_eight_views_commute_with_turning(network, pixels, tolerance):
    turned = predict(network, np.rot90(pixels, axes=(1, 2)), test_time_augmentation="eight")
    upright = predict(network, pixels, test_time_augmentation="eight")
    assert np.allclose(np.rot90(turned, -1, axes=(1, 2)), upright, atol=tolerance)
    assert not np.allclose(predict(network, pixels, test_time_augmentation="four"), upright, atol=1e-6)


def test_pictures_of_any_size_come_back_at_their_own(network):
    network.metadata = replace(network.metadata, input_size=(40, 48), threshold=0.4)
    generator = np.random.default_rng(1)
    sizes = [(80, 96), (80, 96), (33, 70), (40, 48), (250, 64)]
    pictures = [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    together = list(Predictor(network, batch_size=2)(pictures))
    for picture, (probability, mask) in zip(pictures, together, strict=True):
        small = resize_image(picture, 40, 48)
        expected = restore_probability(predict(network, small[None])[0], *picture.shape[:2])
        assert probability.shape == mask.shape == picture.shape[:2]
        assert np.allclose(probability, expected, atol=1e-5)
        assert np.array_equal(mask, probability > 0.4)


def test_pictures_are_brought_to_size_as_the_metadata_say(network):
    metadata = replace(network.metadata, input_size=(40, 48), resizing="linear", framing="pad")
    network.metadata = metadata
    picture = np.random.default_rng(1).integers(0, 256, (90, 60, 3), dtype=np.uint8)
    (prediction,) = Predictor(network)([picture])
    small = resize_image(picture, 40, 48, "linear", "pad")
    expected = restore_probability(predict(network, small[None])[0], 90, 60, "pad")
    assert np.allclose(prediction.probability, expected, atol=1e-6)
    network.metadata = replace(metadata, framing="stretch")
    (stretched,) = Predictor(network)([picture])
    assert not np.allclose(stretched.probability, prediction.probability, atol=1e-3)


def test_without_an_input_size_pictures_are_predicted_as_they_are(network, pixels):
    assert network.metadata.input_size is None
    mixed = [pixels[0], pixels[1][:35], pixels[2]]
    for picture, prediction in zip(mixed, Predictor(network)(mixed), strict=True):
        assert np.allclose(prediction.probability, predict(network, picture[None])[0], atol=1e-6)


def test_the_network_is_prepared_once_and_pictures_are_taken_as_they_come(network, pixels, monkeypatch):
    fusions, taken = [], []
    fuse = module.fuse_batch_norms
    monkeypatch.setattr(module, "fuse_batch_norms", lambda network: fusions.append(1) or fuse(network))
    predictor = Predictor(network, batch_size=2)
    stream = predictor(taken.append(n) or pixels[n] for n in range(5))
    next(stream)
    assert len(taken) < 5  # not all are held at once
    assert len(list(stream)) == 4
    list(predictor(pixels))
    assert fusions == [1]


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"precision": "fp16"}, {"test_time_augmentation": "all"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_impossible_arguments_are_refused_by_name(network, pixels, monkeypatch, wrong):
    monkeypatch.undo()  # the hardware as it is
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is "):
        predict(network, pixels, **wrong)


def test_other_pictures_are_refused_by_their_shape(network):
    with pytest.raises(ValueError, match=r"a picture is uint8 \(40, 48\), expected uint8 \(H, W, 3\)"):
        next(Predictor(network)([np.zeros((40, 48), np.uint8)]))
