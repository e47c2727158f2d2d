"""Time a training step alone and beside busy processes.

This module imports neither PyTorch nor TensorFlow, because it times both.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

WARM_UP, REPEATS = 3, 15


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Run `count` endless Python loops on the same cores."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def time_step(step: Callable[[], object], images: int) -> float:
    """Return the median milliseconds per image. `step` must return only when its work is finished."""
    seconds = []
    for _ in range(WARM_UP + REPEATS):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds[WARM_UP:]) / images


def print_times(name: str, step: Callable[[], object], images: int) -> None:
    """Print the time of a step alone and beside one busy process."""
    alone = time_step(step, images)
    with busy(1):
        beside = time_step(step, images)
    print(f"{name}: {alone:.1f} ms per image alone, {beside:.1f} beside one busy process: {beside / alone:.1f} times")
