"""Networks that OpenVINO computes on the CPU instead of PyTorch."""

import re
import threading
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from lesion_segmentation.core.errors import InputError


class OpenVinoNetwork:
    """Function of a network that OpenVINO computes. Several threads may call it, and each call uses one core.

    The network is converted when it is first called with an input of a new shape, which takes seconds. A conversion
    is valid for its shape only, since tracing replaces padding that depends on the size by constants.

    Args:
        network: A network in evaluation mode, in float32.
        precision: `32-true` or `bf16-mixed`.
        threads: Number of threads that call at the same time.
    """

    def __init__(self, network: nn.Module, precision: str, threads: int) -> None:
        import openvino

        self._network, self._core = network, openvino.Core()
        self._options = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16-mixed" else "f32",
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # pinned threads would share a core with other processes
        }
        self._compiled: dict[torch.Size, Any] = {}
        self._converting = threading.Lock()
        self._local = threading.local()

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits, float32 (N, C, H, W), for scaled images (N, 3, H, W)."""
        requests = vars(self._local).setdefault("requests", {})  # a request serves one thread at a time
        if x.shape not in requests:
            with self._converting:
                if x.shape not in self._compiled:
                    self._compiled[x.shape] = self._convert(x.shape)
            requests[x.shape] = self._compiled[x.shape].create_infer_request()
        return torch.from_numpy(requests[x.shape].infer([x.contiguous().numpy()])[0])

    def _convert(self, shape: torch.Size) -> Any:
        # openvino.convert_model does the same but sends usage data to its maker.
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        frontend = FrontEndManager().load_by_framework("pytorch")
        try:
            with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the constants that tracing warns about hold for this shape
                traced = TorchScriptPythonDecoder(self._network, example_input=torch.zeros(shape))
                model = frontend.convert(frontend.load(traced))
        except Exception as error:  # a different type for each operation that OpenVINO does not have
            name, missing = type(self._network).__name__, re.search(r"operations: .+", str(error))
            reason = missing[0] if missing else type(error).__name__
            raise InputError(f"OpenVINO cannot convert {name} ({reason}). Use the engine torch.") from error
        model.reshape(list(shape))
        return self._core.compile_model(model, "CPU", self._options)
