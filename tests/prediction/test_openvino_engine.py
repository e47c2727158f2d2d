"""OpenVINO as engine of a predictor, compared with PyTorch."""

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

from lesion_segmentation.cli import main
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.model import NetworkMetadata, build_network, save_network
from lesion_segmentation.prediction import Predictor
from tests.model.test_architectures import NETWORKS

pytest.importorskip("openvino", reason="openvino is not installed")


@pytest.fixture(scope="module")
def images():
    return [np.random.default_rng(seed).integers(0, 256, (80, 100, 3), dtype=np.uint8) for seed in range(3)]


def build(name="segnet", input_size=(64, 96)):
    torch.manual_seed(0)
    network = build_network(NetworkMetadata(*NETWORKS[name]))
    network.metadata = replace(network.metadata, input_size=input_size, input_std=(50.0, 50.0, 50.0))
    return network


def predict(network, images, **options):
    predictor = Predictor(
        network, "cpu", options.pop("precision", "32-true"), test_time_augmentation="eight", **options
    )
    return np.stack([prediction.probability for prediction in predictor(images)])


@pytest.mark.parametrize("name", NETWORKS)
def test_every_architecture_gives_the_probabilities_of_pytorch(name, images):
    network = build(name)
    expected = predict(network, images)
    assert np.allclose(predict(network, images, engine="openvino"), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["segnet", "unet_lite"])
def test_network_without_input_size_is_converted_for_each_size(name):
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in [(33, 40), (64, 50), (33, 40)]]
    network = build(name, None)
    predictors = [
        Predictor(network, "cpu", "32-true", engine=engine, test_time_augmentation="none")
        for engine in ("torch", "openvino")
    ]
    for expected, found in zip(*(predictor(images) for predictor in predictors), strict=True):
        assert np.allclose(found.probability, expected.probability, atol=1e-4)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_probabilities_depend_neither_on_batch_size_nor_on_threads(images, precision, monkeypatch):
    network = build("segnet_skip")
    many = predict(network, images, engine="openvino", precision=precision)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert np.array_equal(predict(network, images, engine="openvino", precision=precision, batch_size=1), many)


def test_no_usage_data_is_collected(images, monkeypatch):
    telemetry = pytest.importorskip("openvino_telemetry.main")
    monkeypatch.setattr(telemetry.Telemetry, "init", created := Mock())
    predict(build(), images[:1], engine="openvino")
    created.assert_not_called()


class Unknown(nn.Module):
    """A module with an operation that OpenVINO does not have."""

    def forward(self, x):
        return torch.linalg.svdvals(x)[..., None].sum(1, keepdim=True).expand(-1, 1, *x.shape[2:])


def test_network_that_cannot_be_converted_is_refused_before_any_image():
    with pytest.raises(InputError, match=r"convert ModuleNetwork \(operations: aten::linalg_svdvals\)\. Use"):
        Predictor.from_module(Unknown(), (64, 64), (0, 0, 0), (255, 255, 255), device="cpu", engine="openvino")


def test_gpu_is_refused():
    with pytest.raises(InputError, match="The device is cuda:1, but the engine openvino runs on the CPU only"):
        Predictor(build(), "cuda:1", engine="openvino")


def test_command_predicts_with_openvino_and_does_not_mix_engines(tmp_path, images):
    Image.fromarray(images[0]).save(tmp_path / "a.png")
    save_network(build(), weights := tmp_path / "network.safetensors")
    arguments = ["predict", str(tmp_path / "a.png"), str(tmp_path / "out"), "--weights", str(weights)]
    run = lambda *given: CliRunner().invoke(main, given)  # noqa: E731
    assert run(*arguments, "--engine", "openvino").exit_code == 0
    assert (tmp_path / "out" / "a_mask.png").exists()
    mixed = run(*arguments)
    assert mixed.exit_code == 1
    assert "engine" in mixed.output
    wrong = run(*arguments, "--engine", "openvino", "--device", "cuda")
    assert wrong.exit_code == 1
    assert "device is cuda, but the engine openvino runs on the CPU only" in wrong.output
