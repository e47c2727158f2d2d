"""The number of threads, which ends with the training that asked for it."""

import torch

from lesion_segmentation.hardware import use_threads


def test_after_several_numbers_of_threads_the_first_one_comes_back():
    before = torch.get_num_threads()
    use_threads(before + 1)
    use_threads(before + 2)
    assert torch.get_num_threads() == before + 2
    use_threads(None)
    assert torch.get_num_threads() == before
