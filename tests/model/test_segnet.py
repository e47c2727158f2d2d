"""SegNet-v2: counts and shapes of the paper, and unpooling."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lesion_segmentation.model import SegNet
from lesion_segmentation.model.layers import summarize_layers
from lesion_segmentation.model.segnet import unpool


@pytest.mark.parametrize("unpooling", ["indices", "nearest"])
def test_parameter_counts_equal_the_papers(unpooling):
    table = summarize_layers(SegNet(1.0, unpooling), 32, 32)
    total = table.iloc[-1]
    assert total["parameters"] == 33_377_795
    assert total["statistics"] == 15_874
    kinds = table["kind"].value_counts()
    expected = {"convolution": 26, "batch norm": 26, "dense": 2, "pooling": 5, "unpooling": 5}
    assert {kind: kinds[kind] for kind in expected} == expected
    assert list(table["number"].dropna()) == list(range(1, 65))  # the paper's 64 layers


def test_shapes_equal_the_papers_table():
    outputs = []
    network = SegNet(0.25)
    for stage in [*network.encoder, network.dense, *network.decoder, network.head]:
        stage.register_forward_hook(lambda module, inputs, output: outputs.append(tuple(output.shape[1:])))
    network(torch.zeros(1, 3, 192, 256))
    assert outputs == [
        (16, 192, 256),
        (32, 96, 128),
        (64, 48, 64),
        (128, 24, 32),
        (128, 12, 16),
        (256, 6, 8),
        (128, 12, 16),
        (64, 24, 32),
        (32, 48, 64),
        (16, 96, 128),
        (16, 192, 256),
        (1, 192, 256),
    ]


def test_batch_norm_of_the_logit_is_optional():
    with_norm, without = SegNet(0.0625), SegNet(0.0625, logit_batch_norm=False)
    difference = sum(p.numel() for p in with_norm.parameters()) - sum(p.numel() for p in without.parameters())
    assert difference == 2


@settings(max_examples=12, deadline=None)
@given(
    height=st.integers(32, 80),
    width=st.integers(32, 80),
    unpooling=st.sampled_from(["indices", "nearest"]),
)
def test_output_has_any_size_of_the_input(height, width, unpooling):
    network = SegNet(0.0625, unpooling).eval()
    assert network(torch.zeros(2, 3, height, width)).shape == (2, 1, height, width)


def test_small_inputs_and_wrong_channels_are_refused():
    network = SegNet(0.0625)
    for shape in ((1, 3, 31, 64), (1, 1, 64, 64), (3, 64, 64)):
        with pytest.raises(ValueError, match="expected"):
            network(torch.zeros(shape))


@settings(max_examples=20, deadline=None)
@given(height=st.integers(2, 9), width=st.integers(2, 9), repeats=st.integers(1, 2), seed=st.integers(0, 99))
def test_unpooling_puts_each_value_at_its_maximum(height, width, repeats, seed):
    """Compare with a slow search for the maximum of each window, with odd sizes, too."""
    channels = 3
    before = torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(seed))
    pooled, indices = F.max_pool2d(before, 2, ceil_mode=True, return_indices=True)
    values = torch.rand(2, channels * repeats, *pooled.shape[2:]) + 1
    result = unpool(values, indices, before.shape[2:])
    expected = torch.zeros(2, channels * repeats, height, width)
    for n in range(2):
        for k in range(channels * repeats):
            for i in range(pooled.shape[2]):
                for j in range(pooled.shape[3]):
                    window = before[n, k % channels, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                    row, column = divmod(int(window.argmax()), window.shape[1])
                    expected[n, k, 2 * i + row, 2 * j + column] = values[n, k, i, j]
    assert torch.equal(result, expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_unpooling_and_its_gradient_equal_torchs_in_bf16_and_both_layouts(layout):
    before = torch.rand(2, 4, 10, 8).contiguous(memory_format=layout)
    pooled, indices = F.max_pool2d(before, 2, return_indices=True)
    values = pooled.bfloat16().requires_grad_()
    reference = pooled.bfloat16().float().requires_grad_()
    weights = torch.rand(2, 4, 10, 8).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = unpool(values, indices, before.shape[2:])
    expected = F.max_unpool2d(reference, indices, 2)
    (result * weights).sum().backward()
    (expected * weights.float()).sum().backward()
    assert result.dtype == torch.bfloat16
    assert torch.equal(result.float(), expected)
    assert torch.equal(values.grad.float(), reference.grad)


def test_gradients_reach_every_parameter():
    network = SegNet(0.0625)
    network(torch.rand(2, 3, 64, 64)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
