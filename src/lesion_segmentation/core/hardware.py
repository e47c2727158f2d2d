"""Which device and precision are used, and about how long a training will take there."""

import copy
import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn

from lesion_segmentation.core.errors import InputError

PRECISIONS = ("auto", "32-true", "bf16-mixed")

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


_TIMED = 4
"""Pictures of which a forward pass is timed."""


_threads: int | None = None
"""Of this process, while a training has another number."""


class Hardware(NamedTuple):
    """Where and in which precision to compute: names as Lightning Fabric takes them."""

    device: str
    precision: str


def choose_hardware(device: str = "auto", precision: str = "auto") -> Hardware:
    """Resolve `auto`: a GPU where there is one; bf16 where the hardware really computes with it.

    Raises:
        InputError: A GPU is asked for and there is none.
        ValueError: The precision is none of PRECISIONS.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, expected one of: {', '.join(PRECISIONS)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "The device asked for is cuda (training.device or prediction.device), but PyTorch finds no GPU. Ask for "
            "auto or cpu."
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if precision == "auto":
        precision = "bf16-mixed" if _computes_bf16(device) else "32-true"
    if device == "cuda" and precision == "32-true":
        # float32 shall mean it: cuDNN's convolutions would round their inputs to TF32's ten bits.
        torch.backends.cudnn.allow_tf32 = False
    return Hardware(device, precision)


def estimate_minutes(network: nn.Module, height: int, width: int, images: int, precision: str) -> float:
    """About how long training steps on `images` images of this size take on the CPU.

    A step counts as three forward passes, and one of a few pictures is timed: what a network reaches of a processor's
    multiplications differs too much between architectures.
    """
    copied = copy.deepcopy(network).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pixels = torch.zeros(_TIMED, 3, height, width).contiguous(memory_format=torch.channels_last)
    seconds = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        for _ in range(3):
            start = time.perf_counter()
            copied(pixels)
            seconds.append(time.perf_counter() - start)
    return 3 * min(seconds) / _TIMED * images / 60


@contextmanager
def enough_memory(batch_size: int, key: str) -> Iterator[None]:
    """Tell a want of memory, of the card or of the machine, in a sentence.

    Raises:
        InputError: It says how many pictures were tried at once and which key to lower.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        told = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(error)
        if not told:
            raise
        raise InputError(f"The memory is not enough for {batch_size} pictures at once. Lower {key}.") from error


def keep_freed_memory() -> None:
    """Let the C library keep the memory of tensors that were freed, for the next ones.

    glibc alone gives large blocks back and gets new ones, whose every page the kernel clears: a fifth of a training
    step at width 0.25. The process then stays as large as it once was. Without glibc nothing is done.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    set_option(_M_MMAP_MAX, 0)
    set_option(_M_TRIM_THRESHOLD, -1)


def measure_multiply_rate(hardware: Hardware, repeats: int = 8) -> float:
    """In GFLOP/s: the best of some, since the first ones wake threads and clocks."""
    size = 8192 if hardware.device == "cuda" else 2048  # a GPU needs more to be busy
    dtype = torch.bfloat16 if hardware.precision == "bf16-mixed" else torch.float32
    # Noise, from a generator of its own: a GPU multiplies ones faster, since fewer bits change.
    noise = torch.Generator(hardware.device).manual_seed(0)
    matrix = torch.rand(size, size, dtype=dtype, device=hardware.device, generator=noise)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        float((matrix @ matrix)[0, 0])
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds) / 1e9


def _computes_bf16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # oneDNN takes bf16 without AVX512-BF16 too, but is several times slower with it there than in float32.
    return bool(torch.cpu._is_avx512_bf16_supported())


def use_threads(count: int | None) -> None:
    """Compute with so many threads; None is as many as before this function was asked for another number."""
    global _threads
    if count is not None:
        _threads = _threads or torch.get_num_threads()
        torch.set_num_threads(count)
    elif _threads is not None:  # an earlier training of this process had a number of its own
        torch.set_num_threads(_threads)
        _threads = None
