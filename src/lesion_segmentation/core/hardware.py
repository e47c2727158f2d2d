"""Choice of device, precision and threads, and estimates of computing time."""

import copy
import ctypes
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn

from lesion_segmentation.core.errors import InputError, RecipeError, pluralize

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # constants of glibc's malloc.h
_TIMED_IMAGES = 2
_starting = threading.Lock()
_threads: int | None = None
"""The original number of threads of this process, while `use_threads` has set another one."""


class Hardware(NamedTuple):
    """Device and precision, by their names in Lightning Fabric."""

    device: str
    precision: str


def choose_hardware(device: str = "auto", precision: str = "auto") -> Hardware:
    """Resolve `auto` to the GPU, if there is one, and to bfloat16, if the device computes with it natively."""
    kind = device.partition(":")[0]
    if kind not in ("auto", "cpu", "cuda"):
        raise InputError(f"The device is {device!r}, expected auto, cpu, cuda, or one of several GPUs, such as cuda:1.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"The requested device is {device}, but PyTorch finds no GPU. Use auto or cpu.")
    if device == "auto":
        device = kind = "cuda" if torch.cuda.is_available() else "cpu"
    if precision == "auto":
        precision = "bf16-mixed" if _computes_bf16(kind) else "32-true"
    if kind == "cuda" and precision == "32-true":
        # By default, cuDNN's convolutions round float32 inputs to the ten bits of TF32.
        torch.backends.cudnn.allow_tf32 = False
    return Hardware(device, precision)


def estimate_minutes(network: nn.Module, height: int, width: int, images: int, precision: str) -> float:
    """Estimate the minutes that training on `images` images of this size takes on the CPU.

    The forward and backward pass of a few images is timed; augmentation, updates and validation are not. An estimate by
    the number of multiplications, or from the forward pass alone, would be too rough, since architectures use a
    processor to different degrees.
    """
    copied = copy.deepcopy(network).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pixels = torch.zeros(_TIMED_IMAGES, 3, height, width).contiguous(memory_format=torch.channels_last)
    seconds = []
    for _ in range(2):  # the first time is longer
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"), torch.random.fork_rng([]):
            logits = copied(pixels)
        logits.float().mean().backward()
        seconds.append(time.perf_counter() - start)
    return min(seconds) / _TIMED_IMAGES * images / 60


@contextmanager
def explain_out_of_memory(batch_size: int, key: str) -> Iterator[None]:
    """Turn an out-of-memory error of the GPU or of the machine into an InputError that says to reduce `key`."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and "allocate memory" not in str(error):
            raise
        batch = pluralize(batch_size, "image")
        raise RecipeError(f"The memory is not sufficient for a batch of {batch}. Reduce {key}.") from error


def keep_freed_memory() -> None:
    """Make glibc reuse the memory of freed tensors instead of returning it to the kernel.

    By default, glibc returns large blocks and requests new ones, and the kernel clears every page of them. This takes
    a fifth of a training step at width 0.25. The process then never shrinks, and all threads share one arena. Other C
    libraries are left as they are.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    set_option(_M_MMAP_MAX, 0)
    set_option(_M_TRIM_THRESHOLD, -1)
    set_option(_M_ARENA_MAX, 1)  # other arenas, which threads get, always return their blocks


def _computes_bf16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Without AVX512-BF16, oneDNN computes in bfloat16 too, but several times more slowly than in float32.
    return bool(torch.cpu._is_avx512_bf16_supported())


def use_threads(count: int | None) -> None:
    """Set PyTorch's number of threads. None restores the number before the first call."""
    global _threads
    if count is not None:
        _threads = _threads or torch.get_num_threads()
        torch.set_num_threads(count)
    elif _threads is not None:
        torch.set_num_threads(_threads)
        _threads = None


def start_single_threads() -> ThreadPoolExecutor:
    """Return as many threads as PyTorch uses now, in each of which it computes with this one thread only.

    Together they are faster than one computation on all cores, in particular if other threads or processes are busy,
    and results do not depend on their number.
    """
    with _starting:
        count = torch.get_num_threads()
        started = threading.Barrier(count + 1)
        pool = ThreadPoolExecutor(count, "network", _use_one_thread)
        for _ in range(count):
            pool.submit(started.wait)
        started.wait()
        torch.set_num_threads(count)  # each thread of the pool also set the default for threads that start later
        return pool


def _use_one_thread() -> None:
    torch.get_num_threads()  # the first call in a thread sets its number, and would later undo the next line
    torch.set_num_threads(1)
