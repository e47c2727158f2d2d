"""Weights files: saving, loading, earlier format versions and damage."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.tensor_files import read_tensors, write_tensors
from lesion_segmentation.model import NetworkMetadata, SegNet, build_network, check_options, load_network, save_network
from lesion_segmentation.model import weights as weights_module
from lesion_segmentation.prediction import predict

VERSION_1 = Path(__file__).parent / "version_1.safetensors"
"""SegNet at width 1/32 with untrained weights, written by commit 7a3c262."""
VERSION_4 = Path(__file__).parent / "version_4.safetensors"
"""SegNet with skips at width 1/64 and two output heads, trained for two epochs, written by commit a7885e3."""


@pytest.fixture
def network():
    network = SegNet(0.0625, "nearest", logit_batch_norm=False)
    network.metadata = replace(
        network.metadata, input_size=(64, 96), input_mean=(1.5, 2, 3), split_hash="abc", mlflow_run_id="run"
    )
    return network.eval()


def test_saved_network_loads_unchanged(network, tmp_path):
    save_network(network, tmp_path / "network.safetensors")
    loaded = load_network(tmp_path / "network.safetensors")
    x = torch.rand(1, 3, 40, 40)
    assert loaded.metadata == network.metadata
    assert torch.equal(loaded(x), network(x))
    assert not loaded.training


def test_loaded_tensors_are_aligned(network, tmp_path):
    """For addresses that are not multiples of 64, oneDNN uses kernels that sum in another order."""
    save_network(network, tmp_path / "network.safetensors")
    write_tensors(tmp_path / "odd.safetensors", {f"{n}": torch.zeros(n) for n in range(1, 40)}, {})
    loaded = [*load_network(tmp_path / "network.safetensors").state_dict().values()]
    loaded += read_tensors(tmp_path / "odd.safetensors")[0].values()
    assert {tensor.data_ptr() % 64 for tensor in loaded} == {0}


def test_version_1_loads_and_predicts_as_before():
    network = load_network(VERSION_1)
    metadata = network.metadata
    assert metadata.options == {"width": 1 / 32, "unpooling": "nearest", "logit_batch_norm": False}
    assert (metadata.input_size, metadata.input_mean) == (None, (150.0, 120.0, 100.0))
    assert (metadata.split_hash, metadata.data_hash, metadata.mlflow_run_id) == ("0123456789abcdef", "", "run")
    image = np.arange(40 * 48 * 3, dtype=np.uint8).reshape(1, 40, 48, 3)
    probabilities = predict(network, image, precision="32-true")  # at the image's own size
    assert [probabilities.mean(), probabilities[0, 20, 30], probabilities.std()] == pytest.approx(
        [0.396724, 0.386857, 0.105342], abs=1e-5
    )


def rewritten(path: Path, tmp_path: Path, **changes: object) -> Path:
    """Write the same tensors with other metadata; None removes a key."""
    tensors, metadata = read_tensors(path)
    changed = {**metadata, **changes}
    write_tensors(tmp_path / "changed.safetensors", tensors, {k: v for k, v in changed.items() if v is not None})
    return tmp_path / "changed.safetensors"


def test_missing_keys_have_defaults_and_unknown_keys_are_named(network, tmp_path):
    save_network(network, tmp_path / "network.safetensors")
    path = tmp_path / "network.safetensors"
    assert load_network(rewritten(path, tmp_path, threshold=None, source=None)).metadata.threshold == 0.5
    for changes, message in (
        ({"color": "red"}, "its metadata are invalid: color: no such parameter"),
        ({"architecture": None}, "its metadata are invalid: architecture is missing, a value is required"),
        ({"input_range": [0, 1]}, "input_range is not 0 to 255"),
        ({"format_version": 99}, "If a newer version of this project wrote the file"),
        ({"options": {"widht": 1}}, "It has the options width, unpooling, logit_batch_norm"),
        ({"options": {"width": 9}}, "width is 9, expected less than or equal to 4"),
        ({"architecture": "unet"}, "'unet', expected one of: monai, segnet"),
    ):
        with pytest.raises(InputError, match=message):
            load_network(rewritten(path, tmp_path, **changes))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["encoder.0.0.0.weight", "encoder.0.0.1.running_var", "head.0.bias"])
def test_values_that_are_not_finite_are_refused_and_named(network, tmp_path, name, value):
    network.state_dict()[name].view(-1)[0] = value
    save_network(network, tmp_path / "network.safetensors")
    with pytest.raises(InputError, match=f"1 tensor with values that are not finite, such as {name}"):
        load_network(tmp_path / "network.safetensors")


def test_large_finite_values_are_accepted(network, tmp_path):
    network.state_dict()["encoder.0.0.0.weight"].fill_(3e38)  # the sum of these overflows
    save_network(network, tmp_path / "network.safetensors")
    assert load_network(tmp_path / "network.safetensors").metadata == network.metadata


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input_std": [1e-300, 1, 1]}, "input_std.0 is 1e-300, expected greater than or equal to 0.001"),
        ({"input_mean": [1e308] * 3}, "input_mean.2 is 1e.308, expected less than or equal to 1000000"),
        ({"temperature": 1e-320}, "temperature is 1e-320, expected"),
        ({"input_size": [1, 1]}, "input_size.0 is 1, expected greater than or equal to 32"),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_impossible_scaling_is_refused(network, tmp_path, changes, words):
    save_network(network, tmp_path / "network.safetensors")
    with pytest.raises(InputError, match=words):
        load_network(rewritten(tmp_path / "network.safetensors", tmp_path, **changes))


@pytest.mark.parametrize(("limit", "value"), [("MAX_MODULES", 20), ("MAX_PARAMETERS", 2_000)])
@pytest.mark.parametrize("architecture", ["segnet", "segnet_skip", "unet_lite", "u2netp", "monai"])
def test_building_stops_at_limits(architecture, limit, value, monkeypatch):
    options = {"network": "UNet", "arguments": {"channels": [16, 32, 64], "strides": [2, 2]}}
    monkeypatch.setattr(weights_module, limit, value)
    with pytest.raises(InputError, match="The network has over"):
        build_network(NetworkMetadata(architecture, options if architecture == "monai" else {}))
    monkeypatch.undo()
    build_network(NetworkMetadata("segnet", {"width": 1 / 32}))


@pytest.mark.parametrize("version", [4, 3, 2])
def test_earlier_versions_load_and_predict_as_before(tmp_path, version):
    """Files of versions 2 and 3 lack keys of version 4. The expected probabilities are those of commit a7885e3."""
    added = {3: ("threshold", "test_time_augmentation", "single_lesion", "temperature"), 4: ("licence",)}  # renamed
    missing = [key for later in range(version + 1, 5) for key in added[later]]
    network = load_network(rewritten(VERSION_4, tmp_path, format_version=version, **dict.fromkeys(missing)))
    metadata = network.metadata
    assert metadata.options["annotation_styles"] == ["PH2", "ISIC 2018"]
    assert (metadata.initialized_from, metadata.seen) == ("run0", ("abc",))
    assert metadata.license == ("CC0-1.0" if version == 4 else "")
    assert metadata.keep_largest_component == (version > 2)
    image = np.arange(40 * 48 * 3, dtype=np.uint8).reshape(1, 40, 48, 3)
    probabilities = predict(network, image, precision="32-true")
    assert [probabilities.mean(), probabilities[0, 20, 30], probabilities.std()] == pytest.approx(
        [0.485664, 0.485017, 0.002021], abs=1e-5
    )


def test_titles_name_networks_in_words():
    for architecture, options, title in (
        ("segnet", {"width": 0.25}, "SegNet-v2 at width 0.25, unpooling by indices"),
        ("segnet", {"width": 1, "unpooling": "nearest"}, "SegNet-v2 at width 1, nearest-neighbor unpooling"),
        ("segnet_skip", {"width": 0.25}, "SegNet with skips at width 0.25"),
        ("unet_lite", {}, "U-Net on EfficientNet-Lite0"),
        ("u2netp", {}, "U²-Net-p"),
        (
            "monai",
            {"network": "AttentionUnet", "arguments": {"channels": [4, 8], "strides": [2]}},
            "MONAI AttentionUnet",
        ),
    ):
        assert build_network(NetworkMetadata(architecture, options)).title == title


@pytest.mark.parametrize("keep", [0, 10, 5000])
def test_damaged_file_is_named(network, tmp_path, keep):
    path = tmp_path / "network.safetensors"
    save_network(network, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"network\.safetensors is not a network of this project, or damaged"):
        load_network(path)


def test_metadata_survive_json(network):
    assert NetworkMetadata.from_dict(json.loads(json.dumps(network.metadata.to_dict()))) == network.metadata


def test_all_options_are_saved_so_that_files_do_not_depend_on_defaults():
    assert build_network(NetworkMetadata("segnet", {"width": "0.0625"})).metadata.options == {
        "width": 0.0625, "unpooling": "indices", "logit_batch_norm": True,
    }  # fmt: skip


def test_missing_file_is_not_called_damaged(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_network(tmp_path / "network.safetensors")


def test_options_are_passed_on_and_checked():
    network = build_network(NetworkMetadata("segnet", {"width": 0.0625, "unpooling": "nearest"}))
    assert not any(pool.with_indices for pool in network.pools)
    assert check_options("segnet", {"width": 0.5}) == {"width": 0.5, "unpooling": "indices", "logit_batch_norm": True}
    with pytest.raises(InputError, match="2 problems"):
        check_options("segnet", {"unpooling": "bilinear", "depth": 3})


def test_weights_load_without_kedro_and_mlflow(network, tmp_path):
    """Load and predict in a process that cannot import them."""
    save_network(network, tmp_path / "network.safetensors")
    code = (
        "import sys; sys.modules.update(kedro=None, mlflow=None)\n"
        "import numpy as np\n"
        "from lesion_segmentation.model import load_network\n"
        "from lesion_segmentation.prediction import predict\n"
        f"network = load_network({str(tmp_path / 'network.safetensors')!r})\n"
        "print(predict(network, np.zeros((1, 40, 40, 3), np.uint8)).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(1, 40, 40)", done.stderr
