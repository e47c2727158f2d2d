"""Tests that the exported file agrees with the Predictor for images of any size."""

import json
import re
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from lesion_segmentation.cli import main
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.export import export_onnx
from lesion_segmentation.images.masks import select_largest_component
from lesion_segmentation.images.resize import resize_image
from lesion_segmentation.model import NetworkMetadata, build_network, save_network
from lesion_segmentation.prediction import Predictor

SCALED = {"input_mean": (120.0, 110.0, 130.0), "input_std": (40.0, 45.0, 50.0)}
NETWORKS = {
    "segnet": ("segnet", {"width": 0.0625, "unpooling": "nearest"}),
    "segnet by indices": ("segnet", {"width": 0.0625, "unpooling": "indices"}),
    "segnet_skip": ("segnet_skip", {"width": 0.0625, "context": "dilated"}),
    "unet_lite": ("unet_lite", {"decoder": [8, 8, 8, 8]}),
    "u2netp": ("u2netp", {}),
    "monai": ("monai", {"network": "BasicUNet", "arguments": {"features": [8, 8, 8, 8, 8, 8], "norm": "batch"}}),
}


def make_network(name="segnet", **metadata):
    torch.manual_seed(3)
    architecture, options = NETWORKS[name]
    network = build_network(
        NetworkMetadata(architecture, options, **({"input_size": (64, 96), "resizing": "cubic"} | SCALED | metadata))
    )
    for module in network.modules():  # without the statistics of a training all logits would be near 0
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    pixels = torch.from_numpy(np.stack([make_image(64, 96, seed) for seed in range(8)])).permute(0, 3, 1, 2)
    with torch.no_grad():
        network.train()((pixels - 120) / 45)
    network.eval()
    return network


def open_session(network, tmp_path) -> onnxruntime.InferenceSession:
    export_onnx(network, tmp_path / "network.onnx")
    return onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])


def make_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return a smooth image with noise, on which resizing filters differ."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (max(2, height // 12), max(2, width // 12), 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(smooth + generator.integers(-20, 21, smooth.shape), 0, 255).astype(np.uint8)


def odd_sizes(count: int) -> list[tuple[int, int]]:
    generator = np.random.default_rng(1)
    return [(int(height), int(width)) for height, width in generator.integers(1, 300, (count, 2))]


@pytest.mark.parametrize("framing", ["stretch", "pad"])
def test_masks_agree_with_predictor_for_200_image_sizes(framing, tmp_path):
    network = make_network(framing=framing, test_time_augmentation="four", temperature=1.7)
    session, predictor = open_session(network, tmp_path), Predictor(network, precision="32-true")
    for number, (height, width) in enumerate(odd_sizes(200)):
        image = make_image(height, width, number)
        (prediction,) = predictor([image])
        masks, probabilities = session.run(None, {"images": image[None]})
        assert masks.dtype == np.uint8
        assert masks.shape == probabilities.shape == (1, height, width)
        assert np.abs(probabilities[0] - prediction.probability).max() < 1e-3, (height, width)
        differ = (masks[0] == 1) != prediction.mask
        assert np.abs(prediction.probability[differ] - 0.5).max(initial=0) < 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_each_architecture_can_be_exported(name, tmp_path):
    network = make_network(name)
    session, predictor = open_session(network, tmp_path), Predictor(network, precision="32-true")
    images = np.stack([make_image(120, 90, seed) for seed in range(3)])
    _, probabilities = session.run(None, {"images": images})
    expected = np.stack([prediction.probability for prediction in predictor(images)])
    assert expected.std() > 0.01
    difference = np.abs(probabilities - expected)
    # If two maxima differ only by rounding, their indices may be swapped, which moves a pixel by one.
    assert np.quantile(difference, 0.9 if "indices" in name or "skip" in name else 1) < 1e-3


@pytest.mark.parametrize("resizing", ["cubic", "linear"])
def test_resizing_equals_pillow_bit_for_bit(resizing, tmp_path):
    network = make_network(resizing=resizing)
    export_onnx(network, tmp_path / "network.onnx")
    model = onnx.load(tmp_path / "network.onnx")
    (choice,) = [node for node in model.graph.node if node.op_type == "If"]  # rows or columns first
    pixels_name = choice.output[0]
    model.graph.output.append(onnx.helper.make_tensor_value_info(pixels_name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for number, (height, width) in enumerate([*odd_sizes(60), (64, 96), (1, 1), (700, 20), (20, 900), (96, 64)]):
        image = make_image(height, width, number)
        pixels = session.run([pixels_name], {"images": image[None]})[0][0].transpose(1, 2, 0)
        assert np.array_equal(pixels, resize_image(image, 64, 96, resizing)), (height, width)


def test_file_records_its_metadata(tmp_path):
    network = make_network(threshold=0.4, keep_largest_component=True, source="synthetic", data_hash="abc")
    session = open_session(network, tmp_path)
    entries = session.get_modelmeta().custom_metadata_map
    assert (entries["threshold"], entries["trained_on"], entries["data_hash"]) == ("0.4", "synthetic", "abc")
    assert entries["license"].startswith("For research. Not a medical device.")
    assert "select_largest_component" in entries["keep_largest_component"]
    assert json.loads(entries["network"])["architecture"] == "segnet"
    image = make_image(70, 80)
    masks, _ = session.run(None, {"images": image[None]})
    (prediction,) = Predictor(network, precision="32-true")([image])
    assert np.array_equal(select_largest_component(masks[0] == 1), prediction.mask)


def test_unsupported_weights_are_refused_with_the_reason(tmp_path):
    for metadata, message in (
        ({"resizing": "lanczos"}, "resize images with lanczos"),
        ({"input_size": None}, "do not name the size"),
    ):
        network = make_network()
        network.metadata = replace(network.metadata, **metadata)
        with pytest.raises(InputError, match=message):
            export_onnx(network, tmp_path / "no.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [float("nan"), 3e38])
def test_network_that_computes_nan_is_not_exported(value, tmp_path):
    network = make_network()
    for tensor in network.parameters():
        tensor.data.fill_(value)
    with pytest.raises(InputError, match="not finite"):
        export_onnx(network, tmp_path / "no.onnx")
    assert not list(tmp_path.iterdir())


def test_export_command_writes_a_valid_file(tmp_path):
    save_network(make_network(), tmp_path / "network.safetensors")
    arguments = ["export", str(tmp_path / "out.onnx"), "--weights", str(tmp_path / "network.safetensors")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0
    assert re.fullmatch(
        "Exporting .*, which takes up to a minute\nWrote .*out.onnx in \\d+ s\nIt maps .*\n", result.output
    )
    onnx.checker.check_model(onnx.load(tmp_path / "out.onnx"))
    arguments[1] = str(tmp_path / "out.pt")
    assert "does not end with .onnx" in CliRunner().invoke(main, arguments).output


def test_invalid_target_is_refused_before_weights_are_read(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.onnx").mkdir()
    for name, word in (
        ("file/x.onnx", "file is a file, but a folder was expected"),
        ("folder.onnx", "folder.onnx is a folder"),
    ):
        result = CliRunner().invoke(main, ["export", str(tmp_path / name), "--weights", "nowhere.safetensors"])
        assert result.exit_code == 1
        assert word in result.output
