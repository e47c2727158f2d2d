"""Restoring the number of threads."""

import pytest
import torch

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.core.hardware import choose_hardware, use_threads


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
