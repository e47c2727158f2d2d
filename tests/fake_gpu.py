"""A fake GPU: run the real code on fake tensors, which have shapes, types and devices but no values.

A CPU build of PyTorch lacks four things, which are replaced here: a device guard for CUDA (replaced by that of the
device `meta`), streams (backward walks the graph in Python instead), parameters that `Module.to` can swap, and the
functions of `torch.cuda`. Values, memory, speed and missing kernels cannot be tested in this way.
"""

import ctypes
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GPU = torch.device("cuda", 0)
CHANNELS_LAST = torch.channels_last
_GUARDS = "_ZN3c104impl26device_guard_impl_registryE"
_CUDA, _META = 1, 14  # of c10::DeviceType
_aten = torch.ops.aten


def missing_seams() -> str:
    """Return why the replacements do not work with this PyTorch, or an empty string if they do."""
    if torch.version.cuda is not None:
        return "this PyTorch is built for CUDA, for which tests marked gpu are more thorough"
    try:
        library = ctypes.CDLL(str(_libc10()))
        (ctypes.c_void_p * (_META + 1)).in_dll(library, _GUARDS)
    except (OSError, ValueError):
        return "the device guards of this PyTorch were not found"
    seams = (
        (torch._C, "_conv_determine_backend_memory_format"),
        (torch.cuda.amp.common, "amp_definitely_not_available"),
    )
    missing = [name for owner, name in seams if not hasattr(owner, name)]
    return f"this PyTorch has no {missing[0]}" if missing else ""


class Watch(TorchDispatchMode):
    """Record of what happens on the fake GPU.

    Attributes:
        waits: Number of synchronizations and copies between host and device, by line of the project.
        convolved: Inputs of convolutions: type, whether the layout is channels_last, and whether TF32 is allowed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.convolved: set[tuple[torch.dtype, bool, bool]] = set()

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if operator is _aten._local_scalar_dense.default:
            self.waits[_line()] += inputs[0].device.type == "cuda"
            return True if inputs[0].dtype == torch.bool else 1
        if torch.device(kwargs.get("device") or "cpu").type != "cpu":
            kwargs["device"] = GPU  # the guard of `meta` reports meta as the current device
            for tensor in inputs:
                tensor.constant = None  # a fake tensor would copy the values of a constant
        out = operator(*args, **kwargs)
        if operator.overloadpacket in (_aten.to, _aten._to_copy, _aten.copy_) and out.device != inputs[-1].device:
            self.waits[_line()] += 1
        if "conv" in str(operator) and inputs[0].device.type == "cuda":
            allowed = torch.backends.cudnn.conv.fp32_precision == "tf32" and inputs[0].dtype == torch.float32
            images = [tensor for tensor in inputs if tensor.ndim == 4]
            self.convolved |= {(x.dtype, x.is_contiguous(memory_format=CHANNELS_LAST), allowed) for x in images}
        return out


@contextmanager
def fake_gpu(count: int = 1) -> Iterator[Watch]:
    """Provide `count` fake GPUs in this context, and yield the record of the first one."""
    guards = (ctypes.c_void_p * (_META + 1)).in_dll(ctypes.CDLL(str(_libc10())), _GUARDS)
    kept, guards[_CUDA] = guards[_CUDA], guards[_META]
    with ExitStack() as stack:
        stack.callback(guards.__setitem__, _CUDA, kept)
        stack.enter_context(patch.multiple(torch.cuda, **_cuda_functions(count)))
        for owner, name, replacement in _REPLACEMENTS:
            stack.enter_context(patch.object(owner, name, replacement, create=True))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        yield stack.enter_context(Watch())


def _cuda_functions(count: int) -> dict[str, Callable[..., Any]]:
    card = SimpleNamespace(major=9, minor=0, total_memory=80 << 30, multi_processor_count=132)
    results = {
        "is_available": True,
        "device_count": count,
        "current_device": 0,
        "is_bf16_supported": True,
        "get_device_name": "fake",
        "get_device_capability": (9, 0),
        "get_device_properties": card,
        "set_device": None,
        "get_rng_state": None,
        "set_rng_state": None,
    }
    return {name: lambda *_, value=value, **__: value for name, value in results.items()}


@torch.no_grad()
def _backward(loss: Tensor) -> None:
    """Walk the graph as autograd does, but without streams."""
    pending: dict[Any, dict[int, Tensor]] = {loss.grad_fn: {0: torch.ones_like(loss)}}
    while pending:
        node = max(pending, key=lambda node: node._sequence_nr())
        received = pending.pop(node)
        grads = node(*(received.get(index) for index in range(max(received) + 1)))
        for (later, index), grad in zip(
            node.next_functions, grads if isinstance(grads, tuple) else [grads], strict=False
        ):
            if hasattr(later, "variable"):
                later.variable.grad = torch.empty_like(later.variable).copy_(grad)
            elif later is not None and grad is not None:
                slot = pending.setdefault(later, {})
                slot[index] = slot[index] + grad if index in slot else grad


@torch.no_grad()
def _apply(module: nn.Module, function: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """Replace Module._apply; it creates new parameters instead of swapping their data."""
    for child in module.children():
        _apply(child, function)
    for store, wrap in ((module._parameters, nn.Parameter), (module._buffers, lambda tensor, _: tensor)):
        for name, old in store.items():
            if old is not None and (new := function(old)) is not old:
                store[name] = wrap(new, old.requires_grad)
    return module


def _layout(pixels: Tensor, weights: Tensor, _: Any) -> torch.memory_format:
    """Choose the memory format of a convolution as cuDNN does."""
    last = any(tensor.is_contiguous(memory_format=CHANNELS_LAST) for tensor in (pixels, weights))
    return CHANNELS_LAST if last else torch.contiguous_format


_REPLACEMENTS = (
    (torch.cuda.amp.common, "amp_definitely_not_available", lambda: False),
    (nn.Module, "_apply", _apply),
    (torch._C, "_conv_determine_backend_memory_format", _layout),
    (Tensor, "backward", _backward),
    (FakeTensor, "__deepcopy__", lambda tensor, _: tensor.detach().clone().requires_grad_(tensor.requires_grad)),
    (FakeTensor, "numpy", lambda tensor: np.ones(tensor.shape, str(tensor.dtype).removeprefix("torch."))),
)


def _libc10() -> Path:
    return Path(torch.__file__).parent / "lib" / "libc10.so"


def _line() -> str:
    frames = (frame for frame in reversed(traceback.extract_stack()) if "/lesion_segmentation/" in frame.filename)
    return next((f"{Path(frame.filename).name}: {frame.line}" for frame in frames), "")
