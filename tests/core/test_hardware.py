"""Restoring the number of threads."""

import torch

from lesion_segmentation.core.hardware import use_threads


def test_use_threads_restores_the_first_count():
    before = torch.get_num_threads()
    use_threads(before + 1)
    use_threads(before + 2)
    assert torch.get_num_threads() == before + 2
    use_threads(None)
    assert torch.get_num_threads() == before
