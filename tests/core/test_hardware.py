"""Devices and numbers of threads."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.hardware import choose_hardware, estimate_minutes, start_single_threads, use_threads


def test_use_threads_restores_the_first_count():
    before = torch.get_num_threads()
    use_threads(before + 1)
    use_threads(before + 2)
    assert torch.get_num_threads() == before + 2
    use_threads(None)
    assert torch.get_num_threads() == before


def test_unknown_device_is_refused_with_a_sentence():
    with pytest.raises(InputError, match="device is 'foo', expected auto, cpu, cuda"):
        choose_hardware("foo")


def test_estimate_counts_the_backward_pass_and_changes_nothing():
    class SlowBackward(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            time.sleep(0.05)
            return gradient

    class Slow(nn.Sequential):
        def forward(self, x):
            return SlowBackward.apply(super().forward(x))

    network = Slow(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.get_rng_state()
    assert estimate_minutes(network, 32, 32, images=6000, precision="32-true") > 6000 * 0.05 / 4 / 60
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_single_threads_leave_other_threads_as_they_are():
    try:
        use_threads(3)
        with start_single_threads() as pool:
            assert set(pool.map(lambda _: torch.get_num_threads(), range(6))) == {1}
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == torch.get_num_threads() == 3
    finally:
        use_threads(None)


def test_pools_that_start_at_once_have_all_their_threads():
    try:
        use_threads(3)
        with ThreadPoolExecutor(4) as callers:
            pools = list(callers.map(lambda _: start_single_threads(), range(40)))
        assert {pool._max_workers for pool in pools} == {3}
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == 3
    finally:
        use_threads(None)
