import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from lesion_segmentation.errors import InputError
from lesion_segmentation.model import NetworkMetadata, SegNet, build_network, load_network, save_network


@pytest.fixture
def network():
    network = SegNet(0.0625, "nearest", logit_batch_norm=False)
    network.metadata = replace(network.metadata, input_mean=(1.5, 2, 3), split_hash="abc", mlflow_run_id="run")
    return network.eval()


def test_what_is_saved_comes_back(network, tmp_path):
    save_network(network, tmp_path / "network.safetensors")
    loaded = load_network(tmp_path / "network.safetensors")
    x = torch.rand(1, 3, 40, 40)
    assert loaded.metadata == network.metadata
    assert torch.equal(loaded(x), network(x))
    assert not loaded.training


@pytest.mark.parametrize("keep", [0, 10, 5000])
def test_damaged_files_are_named(network, tmp_path, keep):
    path = tmp_path / "network.safetensors"
    save_network(network, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"network\.safetensors: not a network of this project, or damaged"):
        load_network(path)


def test_unknown_architectures_are_refused():
    with pytest.raises(InputError, match="expected one of: segnet"):
        build_network(NetworkMetadata("unet", 1.0, "nearest", True))


def test_weights_load_without_kedro_and_mlflow(network, tmp_path):
    """In a process in which neither can be imported."""
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
