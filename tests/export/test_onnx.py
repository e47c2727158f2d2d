"""The exported file beside the Predictor, on pictures of any size."""

import json
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
    "monai": ("monai", {"network": "BasicUNet", "arguments": {"features": [8, 8, 8, 8, 8, 8], "norm": "batch"}}),
}


def make_network(name="segnet", **metadata):
    torch.manual_seed(3)
    architecture, options = NETWORKS[name]
    network = build_network(
        NetworkMetadata(architecture, options, **({"input_size": (64, 96), "resizing": "cubic"} | SCALED | metadata))
    )
    for module in network.modules():  # statistics as a training leaves them: else all logits lie near 0
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    pixels = torch.from_numpy(np.stack([draw(64, 96, seed) for seed in range(8)])).permute(0, 3, 1, 2)
    with torch.no_grad():
        network.train()((pixels - 120) / 45)
    network.eval()
    return network


def open_session(network, tmp_path) -> onnxruntime.InferenceSession:
    export_onnx(network, tmp_path / "network.onnx")
    return onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])


def draw(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth in parts and noisy in others, so that a filter has something to do."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (max(2, height // 12), max(2, width // 12), 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(smooth + generator.integers(-20, 21, smooth.shape), 0, 255).astype(np.uint8)


def odd_sizes(count: int) -> list[tuple[int, int]]:
    generator = np.random.default_rng(1)
    return [(int(height), int(width)) for height, width in generator.integers(1, 300, (count, 2))]


@pytest.mark.parametrize("framing", ["stretch", "pad"])
def test_two_hundred_pictures_of_odd_sizes_are_as_the_predictor_has_them(framing, tmp_path):
    network = make_network(framing=framing, test_time_augmentation="four", temperature=1.7)
    session, predictor = open_session(network, tmp_path), Predictor(network, precision="32-true")
    for number, (height, width) in enumerate(odd_sizes(200)):
        picture = draw(height, width, number)
        (prediction,) = predictor([picture])
        masks, probabilities = session.run(None, {"pictures": picture[None]})
        assert masks.dtype == np.uint8
        assert masks.shape == probabilities.shape == (1, height, width)
        assert np.abs(probabilities[0] - prediction.probability).max() < 1e-3, (height, width)
        differ = (masks[0] == 1) != prediction.mask
        assert np.abs(prediction.probability[differ] - 0.5).max(initial=0) < 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_every_architecture_can_be_exported(name, tmp_path):
    network = make_network(name)
    session, predictor = open_session(network, tmp_path), Predictor(network, precision="32-true")
    pictures = np.stack([draw(120, 90, seed) for seed in range(3)])
    _, probabilities = session.run(None, {"pictures": pictures})
    expected = np.stack([prediction.probability for prediction in predictor(pictures)])
    assert expected.std() > 0.01
    difference = np.abs(probabilities - expected)
    # Two maxima that are equal but for rounding may change places under an index: then a pixel moves by one.
    assert np.quantile(difference, 0.9 if "indices" in name or "skip" in name else 1) < 1e-3


@pytest.mark.parametrize("resizing", ["cubic", "linear"])
def test_pictures_are_resized_as_pillow_does_bit_for_bit(resizing, tmp_path):
    network = make_network(resizing=resizing)
    export_onnx(network, tmp_path / "network.onnx")
    model = onnx.load(tmp_path / "network.onnx")
    model.graph.output.append(onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for number, (height, width) in enumerate([*odd_sizes(60), (64, 96), (1, 1), (700, 20), (20, 900), (96, 64)]):
        picture = draw(height, width, number)
        pixels = session.run(["pixels"], {"pictures": picture[None]})[0][0].transpose(1, 2, 0)
        assert np.array_equal(pixels, resize_image(picture, 64, 96, resizing)), (height, width)


def test_the_file_says_what_it_is(tmp_path):
    network = make_network(threshold=0.4, keep_largest_component=True, source="drawn", data_hash="abc")
    session = open_session(network, tmp_path)
    said = session.get_modelmeta().custom_metadata_map
    assert (said["threshold"], said["trained_on"], said["data_hash"]) == (
        "0.4",
        "drawn",
        "abc",
    )
    assert "select_largest_component" in said["keep_largest_component"]
    assert json.loads(said["network"])["architecture"] == "segnet"
    picture = draw(70, 80)
    masks, _ = session.run(None, {"pictures": picture[None]})
    (prediction,) = Predictor(network, precision="32-true")([picture])
    assert np.array_equal(select_largest_component(masks[0] == 1), prediction.mask)


def test_what_cannot_be_exported_is_refused_with_the_reason(tmp_path):
    for metadata, message in (({"resizing": "lanczos"}, "resize with lanczos"), ({"input_size": None}, "which size")):
        network = make_network()
        network.metadata = replace(network.metadata, **metadata)
        with pytest.raises(InputError, match=message):
            export_onnx(network, tmp_path / "no.onnx")
    assert not list(tmp_path.iterdir())


def test_the_command_writes_the_file(tmp_path):
    save_network(make_network(), tmp_path / "network.safetensors")
    arguments = ["export", str(tmp_path / "out.onnx"), "--weights", str(tmp_path / "network.safetensors")]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    onnx.checker.check_model(onnx.load(tmp_path / "out.onnx"))
    arguments[1] = str(tmp_path / "out.pt")
    assert "no .onnx" in CliRunner().invoke(main, arguments).output


def test_a_place_that_is_none_is_told_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.onnx").mkdir()
    for name, word in (("file/x.onnx", "file is a file, expected a folder"), ("folder.onnx", "is no .onnx")):
        result = CliRunner().invoke(main, ["export", str(tmp_path / name), "--weights", "nowhere.safetensors"])
        assert result.exit_code == 1
        assert word in result.output
