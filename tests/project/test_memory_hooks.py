"""Memory of a run between its nodes."""

import ctypes
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from lesion_project.hooks.memory import MemoryHooks


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="another C library than glibc")
def test_freed_memory_of_threads_is_returned():
    process = psutil.Process()
    with ThreadPoolExecutor(2) as pool:  # blocks of 100 kB come from the arena of their thread
        blocks = list(pool.map(lambda _: np.ones(100_000, np.uint8), range(3_000)))
        kept = blocks[::300]
        full = process.memory_info().rss
        del blocks
        MemoryHooks().before_node_run()
    assert full - process.memory_info().rss > 200_000_000
    assert len(kept) == 10
