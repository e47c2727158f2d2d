import importlib
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.hardware import Hardware
from lesion_segmentation.images.resize import resize_image, restore_probability
from lesion_segmentation.model import NetworkMetadata, SegNet
from lesion_segmentation.prediction import PredictionSettings, Predictor, predict
from lesion_segmentation.prediction.networks import ModuleNetwork, fuse_batch_norms


class NanForWhite(nn.Module):
    """A module that computes NaN for white images only."""

    def forward(self, x):
        return torch.where(x.amin((1, 2, 3), keepdim=True) > 3, torch.nan, x[:, :1])


module = importlib.import_module("lesion_segmentation.prediction.predictor")


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = SegNet(0.0625).train()
    for _ in range(30):  # running statistics that make the output differ from one half
        network(torch.randn(2, 3, 40, 48))
    network.metadata = replace(network.metadata, input_mean=(100.0, 90.0, 80.0), input_std=(50.0, 40.0, 30.0))
    return network


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 40, 48, 3), dtype=np.uint8)


@pytest.fixture(params=["32-true", "bf16-mixed"], autouse=True)
def tolerance(request, monkeypatch):
    """Run every test in both precisions, independent of the hardware, and return the allowed difference."""
    monkeypatch.setattr(
        module, "choose_hardware", lambda device, precision: Hardware(device.replace("auto", "cpu"), request.param)
    )
    return {"32-true": 1e-5, "bf16-mixed": 0.03}[request.param]


def test_scaling_follows_metadata(network, pixels, tolerance):
    probabilities = predict(network, pixels, batch_size=2)
    scaled = (torch.tensor(pixels).float() - torch.tensor([100.0, 90, 80])) / torch.tensor([50.0, 40, 30])
    with torch.no_grad():
        expected = network.eval()(scaled.permute(0, 3, 1, 2)).sigmoid()[:, 0]
    assert probabilities.dtype == np.float32
    assert probabilities.std() > 0.05
    difference = np.abs(probabilities - expected.numpy())
    assert difference.mean() < tolerance
    assert difference.max() < (10 if tolerance < 0.01 else 20) * tolerance  # in bf16 another pixel may be the maximum


def test_four_flips_average_mirror_images(network, pixels):
    flips = [(), (1,), (2,), (1, 2)]
    single = [np.flip(predict(network, np.flip(pixels, axes)), axes) for axes in flips]
    assert np.allclose(predict(network, pixels, test_time_augmentation="four"), np.mean(single, axis=0), atol=1e-6)


def test_four_flips_commute_with_mirroring(network, pixels):
    mirrored = predict(network, np.flip(pixels, 2), test_time_augmentation="four")
    assert np.allclose(mirrored, np.flip(predict(network, pixels, test_time_augmentation="four"), 2), atol=1e-6)


def test_network_is_not_changed(network, pixels):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    predict(network, pixels)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_empty_batch_and_invalid_type(network, pixels):
    assert predict(network, pixels[:0]).shape == (0, 40, 48)
    with pytest.raises(ValueError, match="expected uint8"):
        predict(network, pixels / 255)


@pytest.mark.parametrize("threshold", [7, -0.1, float("nan")])
def test_threshold_outside_0_to_1_is_refused(network, threshold):
    with pytest.raises(InputError, match="threshold is"):
        Predictor(network, threshold=threshold)


def test_defaults_are_those_of_the_settings(network):
    assert Predictor(network).batch_size == PredictionSettings().batch_size


def test_single_image_is_predicted_as_in_a_list(network, pixels, tmp_path):
    predictor = Predictor(network)
    (expected,) = predictor([pixels[0]])
    Image.fromarray(pixels[0]).save(tmp_path / "a.png")
    for image in (pixels[0], tmp_path / "a.png", str(tmp_path / "a.png")):
        assert np.array_equal(predictor(image).probability, expected.probability)
    assert len(list(predictor(pixels))) == 5


def test_missing_and_unreadable_files_are_named(network, tmp_path):
    predictor = Predictor(network)
    with pytest.raises(InputError, match=r"nowhere\.png cannot be used: it cannot be opened .No such file"):
        predictor(tmp_path / "nowhere.png")
    with pytest.raises(InputError, match="it cannot be opened"):
        predictor(tmp_path)


def test_image_with_nan_fails_alone(pixels):
    pixels[2] = 255
    predictor = Predictor.from_module(NanForWhite(), (64, 96), (120.0,) * 3, (40.0,) * 3, batch_size=2)
    assert [prediction is None for prediction in predictor.predict_each(pixels)] == [False, False, True, False, False]
    stream = predictor(pixels)
    next(stream), next(stream)
    with pytest.raises(InputError, match="Image 3 cannot be predicted: the network returns values that are not finite"):
        next(stream)


@pytest.mark.parametrize(("name", "value"), [("head.0.weight", float("nan")), ("encoder.0.0.1.running_var", -1.0)])
def test_network_in_memory_with_unusable_values_predicts_nothing(network, pixels, name, value):
    network.state_dict()[name].view(-1)[0] = value  # a negative variance becomes NaN in a batch norm
    predictor = Predictor(network)
    with pytest.raises(InputError, match="values that are not finite"):
        predictor(pixels[0])


def test_any_module_predicts_like_a_network(network, pixels):
    network.metadata = replace(network.metadata, input_size=(40, 48), resizing="cubic")
    scaling = {"input_mean": network.metadata.input_mean, "input_std": network.metadata.input_std}
    module = nn.Sequential(network)
    predictor = Predictor.from_module(module, (40, 48), **scaling, test_time_augmentation="four")
    image = np.repeat(pixels[0], 2, axis=0)
    expected = Predictor(network, test_time_augmentation="four")(image)
    assert np.array_equal(predictor(image).probability, expected.probability)


@pytest.mark.parametrize(
    ("module", "changes", "words"),
    [
        (nn.Conv2d(3, 2, 1), {}, r"Conv2d returns .*\[., 2, 64, 96\].*, expected logits of shape \(., 1, 64, 96\)"),
        (nn.Sequential(nn.Conv2d(3, 1, 1), nn.MaxPool2d(2)), {}, r"Sequential returns .*\[., 1, 32, 48\]"),
        (nn.Conv2d(3, 1, 1), {"input_std": (0.229, 0.224, 0.225)}, "Multiply input_mean and _std by 255"),
        (nn.Conv2d(3, 1, 1), {"input_std": (0.0, 1.0, 1.0)}, "input_std.0 is 0"),
        (nn.Conv2d(3, 1, 1), {"input_size": (16, 16)}, "input_size.0 is 16"),
        (nn.Conv2d(3, 1, 1), {"framing": "crop"}, "framing is 'crop'"),
    ],
)
def test_unsuitable_module_is_refused(module, changes, words):
    arguments = {"input_size": (64, 96), "input_mean": (120.0,) * 3, "input_std": (40.0,) * 3, **changes}
    with pytest.raises(InputError, match=words):
        Predictor.from_module(module, **arguments)


def test_only_plain_sequences_with_statistics_are_fused():
    class Doubled(nn.Sequential):
        def forward(self, x):
            return self[1](2 * self[0](x))

    layers = (nn.Conv2d(3, 1, 1), nn.BatchNorm2d(1, track_running_stats=False))
    for module in (Doubled(nn.Conv2d(3, 1, 1), nn.BatchNorm2d(1)), nn.Sequential(*layers)):
        x = torch.rand(2, 3, 4, 4)
        network = ModuleNetwork(module, NetworkMetadata("any")).eval()
        assert torch.equal(fuse_batch_norms(network)(x), network(x))


@pytest.mark.parametrize("logit_batch_norm", [True, False])
def test_fusing_keeps_function_and_removes_batch_norm(pixels, logit_batch_norm):
    torch.manual_seed(0)
    network = SegNet(0.0625, logit_batch_norm=logit_batch_norm).train()
    inputs = torch.tensor(pixels).permute(0, 3, 1, 2) / 255
    for _ in range(3):
        network(inputs)  # running means and variances that differ from 0 and 1
    fused = fuse_batch_norms(network)
    with torch.no_grad():
        assert torch.allclose(fused(inputs), network.eval()(inputs), atol=1e-4)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in fused.modules())


def test_network_computes_in_hardware_precision(network, pixels, request):
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: seen.append(inputs[0].dtype))
    predict(network, pixels)
    handle.remove()
    assert set(seen) == {torch.bfloat16 if "bf16" in request.node.name else torch.float32}


def test_eight_flips_commute_with_rotation(network, pixels, tolerance):
    turned = predict(network, np.rot90(pixels, axes=(1, 2)), test_time_augmentation="eight")
    upright = predict(network, pixels, test_time_augmentation="eight")
    assert np.allclose(np.rot90(turned, -1, axes=(1, 2)), upright, atol=tolerance)
    assert not np.allclose(predict(network, pixels, test_time_augmentation="four"), upright, atol=1e-6)


def test_probabilities_have_image_size(network):
    network.metadata = replace(network.metadata, input_size=(40, 48), threshold=0.4)
    generator = np.random.default_rng(1)
    sizes = [(80, 96), (80, 96), (33, 70), (40, 48), (250, 64)]
    images = [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    together = list(Predictor(network, batch_size=2)(images))
    for image, (probability, mask) in zip(images, together, strict=True):
        small = resize_image(image, 40, 48)
        expected = restore_probability(predict(network, small[None])[0], *image.shape[:2])
        assert probability.shape == mask.shape == image.shape[:2]
        assert np.allclose(probability, expected, atol=1e-5)
        assert np.array_equal(mask, probability > 0.4)


def test_resizing_follows_metadata(network):
    metadata = replace(network.metadata, input_size=(40, 48), resizing="linear", framing="pad")
    network.metadata = metadata
    image = np.random.default_rng(1).integers(0, 256, (90, 60, 3), dtype=np.uint8)
    (prediction,) = Predictor(network)([image])
    small = resize_image(image, 40, 48, "linear", "pad")
    expected = restore_probability(predict(network, small[None])[0], 90, 60, "pad")
    assert np.allclose(prediction.probability, expected, atol=1e-6)
    network.metadata = replace(metadata, framing="stretch")
    (stretched,) = Predictor(network)([image])
    assert not np.allclose(stretched.probability, prediction.probability, atol=1e-3)


def test_error_ends_the_other_parts_of_a_batch(pixels):
    calls = []

    class Failing(nn.Module):
        def forward(self, x):
            calls.append(len(x))
            if len(calls) == 1:
                raise RuntimeError("broken")
            time.sleep(0.05)
            return x[:, :1]

    predictor = Predictor.from_module(nn.Conv2d(3, 1, 1), (40, 48), (120.0,) * 3, (40.0,) * 3, batch_size=40)
    predictor._network = Failing()
    with pytest.raises(RuntimeError, match="broken"):
        predictor.flip_logits([pixels[0]] * 40)
    time.sleep(0.3)
    assert len(calls) < 40


def test_images_are_not_resized_without_input_size(network, pixels):
    assert network.metadata.input_size is None
    mixed = [pixels[0], pixels[1][:35], pixels[2]]
    for image, prediction in zip(mixed, Predictor(network)(mixed), strict=True):
        assert np.allclose(prediction.probability, predict(network, image[None])[0], atol=1e-6)


def test_network_is_prepared_once_and_images_are_consumed_lazily(network, pixels, monkeypatch):
    fusions, taken = [], []
    fuse = module.fuse_batch_norms
    monkeypatch.setattr(module, "fuse_batch_norms", lambda network: fusions.append(1) or fuse(network))
    predictor = Predictor(network, batch_size=2)
    stream = predictor(taken.append(n) or pixels[n] for n in range(5))
    next(stream)
    assert len(taken) < 5  # the iterable is not exhausted at once
    assert len(list(stream)) == 4
    list(predictor(pixels))
    assert fusions == [1]


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"batch_size": 1.5}, {"precision": "fp16"}, {"test_time_augmentation": "all"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_invalid_arguments_are_refused_by_name(network, pixels, monkeypatch, wrong):
    monkeypatch.undo()  # use the real hardware
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is "):
        predict(network, pixels, **wrong)


def test_images_of_other_shape_are_refused(network):
    with pytest.raises(ValueError, match=r"an image is uint8 \(40, 48\), expected uint8 \(H, W, 3\)"):
        next(Predictor(network)([np.zeros((40, 48), np.uint8)]))


def test_unknown_option_is_refused(network):
    with pytest.raises(TypeError, match="no option views"):
        Predictor(network, views="four")
