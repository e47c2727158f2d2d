"""Networks of MONAI's by name: what is refused, and in which words."""

import pytest
import torch
from monai.networks import nets

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.model import NetworkMetadata, build_network, load_network, save_network
from lesion_segmentation.model.layers import require_maps
from lesion_segmentation.model.monai_network import MonaiNetwork


def described(network: str, **arguments: object) -> NetworkMetadata:
    return NetworkMetadata("monai", {"network": network, "arguments": arguments})


def test_it_is_monais_own_network():
    torch.manual_seed(0)
    ours = MonaiNetwork("UNet", {"channels": [4, 8], "strides": [2]}).eval()
    theirs = nets.UNet(2, 3, 1, channels=[4, 8], strides=[2]).eval()
    theirs.load_state_dict(ours.network.state_dict())
    x = torch.randn(1, 3, 64, 96)
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize(
    ("network", "arguments", "words"),
    [
        ("AttentionUNet", {}, "did you mean AttentionUnet"),
        ("os", {}, "expected a class of monai.networks.nets"),
        ("UNet", {"channels": [4, 8], "strides": [2], "depth": 3}, "options.arguments has depth, expected some of"),
        ("UNet", {}, "missing 2 required positional arguments: 'channels' and 'strides'"),
        ("FlexibleUNet", {"backbone": "efficientnet-b0", "pretrained": True}, "would fetch weights"),
        ("UNet", {"channels": [4, 8, 16], "strides": [2]}, "cannot be built: the length of `strides`"),
        ("HoVerNet", {"pretrained_url": "http://127.0.0.1/w.pth"}, "pretrained_url would fetch weights"),
        ("MedNeXtSmal", {}, "did you mean"),
    ],
)
def test_what_cannot_be_built_is_told(network, arguments, words):
    with pytest.raises(InputError, match=words):
        build_network(described(network, **arguments))


def test_a_network_that_gives_no_map_is_refused_before_it_is_trained():
    with torch.device("meta"):
        deep = build_network(
            described("DynUNet", kernel_size=[3] * 3, strides=[1, 2, 2], upsample_kernel_size=[2, 2],
                      deep_supervision=True)
        )  # fmt: skip
    with pytest.raises(InputError, match=r"gives \(2, 2, 1, 64, 96\) for two pictures, expected \(2, 1, 64, 96\)"):
        require_maps(deep, 64, 96)


def test_several_maps_in_a_list_are_refused_too():
    with torch.device("meta"):
        deep = build_network(
            described("BasicUNetPlusPlus", features=[4, 4, 8, 8, 16, 4], norm="batch", deep_supervision=True)
        )
    with pytest.raises(InputError, match="gives 4 maps, expected one"):
        require_maps(deep, 64, 96)


def test_a_layer_that_stands_under_two_names_is_kept_once(tmp_path):
    network = build_network(
        described("DynUNet", kernel_size=[3] * 3, strides=[1, 2, 2], upsample_kernel_size=[2, 2], filters=[4, 8, 16])
    ).eval()
    assert len(network.own_state()) < len(network.state_dict())
    save_network(network, tmp_path / "network.safetensors")
    loaded = load_network(tmp_path / "network.safetensors")
    x = torch.randn(1, 3, 64, 96)
    assert torch.equal(loaded(x), network(x))
    assert not any(tensor.is_meta for tensor in loaded.state_dict().values())
