"""Summaries and checks of a network's layers, derived from the network itself."""

import pandas as pd
import torch
from torch import nn

from lesion_segmentation.core.errors import InputError, first_line
from lesion_segmentation.model.metadata import Network
from lesion_segmentation.model.segnet import Pool, Unpool

UNNUMBERED = "ReLU"
"""Activations get no number, as in the usual count of SegNet's 64 layers."""


def summarize_layers(network: nn.Module, height: int = 192, width: int = 256) -> pd.DataFrame:
    """Return a table of the layers in the order in which they run on an image of `height` x `width`.

    Returns:
        Columns number (from 1; none for activations), layer (its name in the network), kind, output_shape (h x w x c),
        parameters (count of trainable ones) and statistics (count of running means and variances). The last row has
        the totals.
    """
    rows: list[list[object]] = []

    def record(name: str, module: nn.Module, output: torch.Tensor | tuple[torch.Tensor, object]) -> None:
        features = output[0] if isinstance(output, (tuple, list)) else output
        channels, *sides = features.shape[1:]
        shape = " x ".join(str(side) for side in (*sides, channels))
        parameters = sum(p.numel() for p in module.parameters())
        statistics = sum(b.numel() for n, b in module.named_buffers() if n != "num_batches_tracked")
        rows.append([name, _kind(module), shape, parameters, statistics])

    handles = [
        module.register_forward_hook(lambda m, _, out, name=name: record(name, m, out))
        for name, module in network.named_modules()
        if not list(module.children())
    ]
    device = next(network.parameters()).device
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 3, height, width, device=device))
    finally:
        for handle in handles:
            handle.remove()
    table = pd.DataFrame(rows, columns=["layer", "kind", "output_shape", "parameters", "statistics"])
    counted = table["kind"] != UNNUMBERED
    table.insert(0, "number", counted.cumsum().where(counted).astype("Int64"))
    total = {"layer": "total", **table[["parameters", "statistics"]].sum().to_dict()}
    return pd.concat([table, pd.DataFrame([total])], ignore_index=True).fillna({"kind": "", "output_shape": ""})


def require_heads(network: Network, height: int, width: int) -> None:
    """Require one logit map of the image's size for each output head, in training and evaluation mode.

    The network is on the meta device, where nothing is computed. Any other output raises an InputError.
    """
    expected = (2, network.heads, height, width)
    for training in (True, False):
        try:
            with torch.no_grad():
                found = network.train(training)(torch.zeros(2, 3, height, width, device="meta")).shape
        except Exception as error:  # third-party networks raise many types
            cause = first_line(error)
            raise InputError(f"{network.title} cannot take images of {height} x {width}: {cause}.") from error
        if tuple(found) != expected:
            raise InputError(f"{network.title} returns {tuple(found)} for two images, expected {expected}.")


def _kind(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        return "dense" if module.kernel_size == (1, 1) else "convolution"
    names = {nn.BatchNorm2d: "batch norm", nn.ReLU: "ReLU", Pool: "pooling", Unpool: "unpooling"}
    return names.get(type(module), type(module).__name__)
