"""MONAI's networks by name, and the messages for those that are refused."""

import pytest
import torch
from monai.networks import nets

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.model import NetworkMetadata, build_network, load_network, save_network
from lesion_segmentation.model.layers import require_heads
from lesion_segmentation.model.monai_network import MonaiNetwork


def monai_metadata(network: str, **arguments: object) -> NetworkMetadata:
    return NetworkMetadata("monai", {"network": network, "arguments": arguments})


def test_network_equals_monais():
    torch.manual_seed(0)
    ours = MonaiNetwork(network="UNet", arguments={"channels": [4, 8], "strides": [2]}).eval()
    theirs = nets.UNet(2, 3, 1, channels=[4, 8], strides=[2]).eval()
    theirs.load_state_dict(ours.network.state_dict())
    x = torch.randn(1, 3, 64, 96)
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize(
    ("network", "arguments", "words"),
    [
        ("AttentionUNet", {}, "Did you mean AttentionUnet"),
        ("os", {}, "Expected a class of monai.networks.nets"),
        ("UNet", {"channels": [4, 8], "strides": [2], "depth": 3}, "options.arguments has depth, expected some of"),
        ("UNet", {}, "missing 2 required positional arguments: 'channels' and 'strides'"),
        ("FlexibleUNet", {"backbone": "efficientnet-b0", "pretrained": True}, "would download weights"),
        ("UNet", {"channels": [4, 8, 16], "strides": [2]}, "cannot be built: the length of `strides`"),
        ("UNet", {"channels": [4, 8], "strides": [2], "out_channels": 2}, "sets out_channels, but the task needs"),
        ("HoVerNet", {"pretrained_url": "http://127.0.0.1/w.pth"}, "pretrained_url would download weights"),
        ("MedNeXtSmal", {}, "Did you mean"),
        ("DenseNet", {"block_config": [10_000_000]}, "over 20,000 modules or 500,000,000 parameters"),
    ],
)
def test_invalid_options_are_explained(network, arguments, words):
    with pytest.raises(InputError, match=words):
        build_network(monai_metadata(network, **arguments))


def test_network_with_another_output_shape_is_refused():
    with torch.device("meta"):
        deep = build_network(
            monai_metadata("DynUNet", kernel_size=[3] * 3, strides=[1, 2, 2], upsample_kernel_size=[2, 2],
                      deep_supervision=True)
        )  # fmt: skip
    with pytest.raises(InputError, match=r"returns \(2, 2, 1, 64, 96\) for two images, expected \(2, 1, 64, 96\)"):
        require_heads(deep, 64, 96)


def test_network_with_several_outputs_is_refused():
    with torch.device("meta"):
        deep = build_network(
            monai_metadata("BasicUNetPlusPlus", features=[4, 4, 8, 8, 16, 4], norm="batch", deep_supervision=True)
        )
    with pytest.raises(InputError, match="returns 4 outputs, expected one"):
        require_heads(deep, 64, 96)


def test_layer_with_two_names_is_saved_once(tmp_path):
    network = build_network(
        monai_metadata(
            "DynUNet", kernel_size=[3] * 3, strides=[1, 2, 2], upsample_kernel_size=[2, 2], filters=[4, 8, 16]
        )
    ).eval()
    assert len(network.own_state()) < len(network.state_dict())
    save_network(network, tmp_path / "network.safetensors")
    loaded = load_network(tmp_path / "network.safetensors")
    x = torch.randn(1, 3, 64, 96)
    assert torch.equal(loaded(x), network(x))
    assert not any(tensor.is_meta for tensor in loaded.state_dict().values())
