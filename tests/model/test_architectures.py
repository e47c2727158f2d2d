"""Behavior that all architectures share. Add a new one to NETWORKS to test it."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.networks import count_gflop
from lesion_segmentation.model import ARCHITECTURES, Network, NetworkMetadata, build_network, load_network, save_network
from lesion_segmentation.model.layers import require_heads, summarize_layers
from lesion_segmentation.prediction.predictor import fuse_batch_norms
from lesion_segmentation.training.callbacks import Callbacks
from lesion_segmentation.training.checkpoints import CheckpointFile
from lesion_segmentation.training.loop import fit
from lesion_segmentation.training.optimization import build_optimizer, build_schedule
from lesion_segmentation.training.samples import TrainingData
from lesion_segmentation.training.settings import TrainingSettings

SMALL = {"width": 0.0625}
NETWORKS = {
    "segnet": ("segnet", SMALL),
    "segnet_skip": ("segnet_skip", {**SMALL, "context": "none", "logit_batch_norm": True}),
    "segnet_skip dilated": ("segnet_skip", {**SMALL, "context": "dilated", "unpooling": "nearest"}),
    "unet_lite": ("unet_lite", {"decoder": [8, 8, 8, 8]}),
    "unet_lite lite2": ("unet_lite", {"encoder": "lite2", "decoder": [8, 8, 8, 8]}),
    "u2netp": ("u2netp", {}),
    "monai AttentionUnet": (
        "monai",
        {"network": "AttentionUnet", "arguments": {"channels": [4, 8, 16], "strides": [2, 2]}},
    ),
    "monai BasicUNetPlusPlus": (
        "monai",
        {"network": "BasicUNetPlusPlus", "arguments": {"features": [4, 4, 8, 8, 16, 4], "norm": "batch"}},
    ),
    "monai DynUNet": (
        "monai",
        {
            "network": "DynUNet",
            "arguments": {
                "kernel_size": [3, 3, 3],
                "strides": [1, 2, 2],
                "upsample_kernel_size": [2, 2],
                "filters": [4, 8, 16],
            },
        },
    ),
}


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def metadata(request) -> NetworkMetadata:
    return NetworkMetadata(*request.param)


@pytest.fixture
def network(metadata) -> Network:
    torch.manual_seed(0)
    return build_network(metadata)


def test_output_has_the_size_of_the_image(metadata):
    with torch.device("meta"):
        require_heads(build_network(metadata), 96, 128)


def settle(network: Network) -> Network:
    """Set running statistics that differ from those of a fresh network."""
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(2, 3, 64, 64))
    return network.eval()


def test_every_architecture_is_tested():
    assert {name for name, _ in NETWORKS.values()} == set(ARCHITECTURES)


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=4, deadline=None)
@given(height=st.integers(32, 75), width=st.integers(32, 75))
def test_output_has_any_size_of_the_input(name, height, width):
    network = build_network(NetworkMetadata(*NETWORKS[name])).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, height, width)).shape == (2, 1, height, width)


def test_steps_reach_every_parameter_and_reduce_the_loss(network):
    pixels = torch.randn(2, 3, 64, 64)
    masks = (pixels.mean(dim=1, keepdim=True) > 0).float()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(pixels), masks)
        optimizer.zero_grad()
        loss.backward()
        losses.append(float(loss.detach()))
        if network.metadata.architecture != "monai":  # BasicUNetPlusPlus has heads for deep supervision only
            assert not [name for name, parameter in network.named_parameters() if parameter.grad is None]
        optimizer.step()
    assert losses[-1] < losses[0]


def test_saved_network_loads_unchanged(network, tmp_path):
    save_network(settle(network), tmp_path / "network.safetensors")
    loaded = load_network(tmp_path / "network.safetensors")
    x = torch.randn(1, 3, 40, 48)
    assert loaded.metadata == network.metadata
    assert torch.equal(loaded(x), network(x))


def test_fused_network_gives_equal_logits(network):
    fused = fuse_batch_norms(settle(network))
    x = torch.randn(2, 3, 50, 64)
    with torch.no_grad():
        assert torch.allclose(fused(x), network(x), atol=2e-3)
    if network.metadata.architecture != "monai":  # its blocks are not sequences of a convolution and its norm
        assert torch.nn.BatchNorm2d not in [type(module) for module in fused.modules()]


def test_network_can_be_exported(network):
    x = torch.randn(1, 3, 64, 96)
    exported = torch.export.export(settle(network), (x,)).module()
    with torch.no_grad():
        assert torch.allclose(exported(x), network(x), atol=1e-5)


def test_layers_and_operations_are_counted(network):
    table = summarize_layers(network, 64, 64)
    assert table.iloc[-1]["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert 0 < count_gflop(network, 64, 64) < count_gflop(network, 128, 64)


def test_training_can_be_resumed(metadata, images, masks, cases, tmp_path):
    ids = list(cases["case_id"][:8])
    samples = pd.DataFrame({"sample_id": ids, "subset": ["train"] * 6 + ["validation"] * 2})
    plain = {"width": None, "unpooling": None, "logit_batch_norm": None, "device": "cpu", "precision": "32-true"}
    settings = TrainingSettings(
        architecture=metadata.architecture, options=dict(metadata.options), epochs=2, batch_size=3, **plain
    )
    whole, _ = fit(TrainingData(images, masks, samples), settings)
    file = CheckpointFile(tmp_path / "checkpoint.safetensors")
    with pytest.raises(KeyboardInterrupt):
        fit(TrainingData(images, masks, samples), settings, Callbacks(interrupt), file)
    resumed, _ = fit(
        TrainingData(images, masks, samples), settings.model_copy(update={"resume": True}), checkpoint_file=file
    )
    expected = whole.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in resumed.state_dict().items())


def interrupt(row: object) -> None:
    raise KeyboardInterrupt


def test_encoder_can_have_its_own_learning_rate(network):
    if not hasattr(network, "encoder"):
        pytest.skip("the network has no attribute encoder")
    settings = TrainingSettings(learning_rate=0.1, encoder_learning_rate=0.01, schedule="one_cycle")
    optimizer = build_optimizer(network, settings)
    build_schedule(optimizer, settings, 10)
    others, encoder = optimizer.param_groups
    assert {id(p) for p in encoder["params"]} == {id(p) for p in network.encoder.parameters()}
    assert len(others["params"]) + len(encoder["params"]) == len(list(network.parameters()))
    assert (others["max_lr"], encoder["max_lr"]) == (0.1, 0.01)
    (alone,) = build_optimizer(network, TrainingSettings()).param_groups
    assert np.array_equal([id(p) for p in alone["params"]], [id(p) for p in network.parameters()])
