"""A network's layers, read from the network itself."""

import pandas as pd
import torch
from torch import nn

LEAF_NAMES = {nn.Conv2d: "convolution", nn.BatchNorm2d: "batch norm", nn.ReLU: "ReLU"}


def summarise_architecture(network: nn.Module, height: int = 192, width: int = 256) -> pd.DataFrame:
    """One row a layer in the order they run: layer, kind, output_shape (h x w x c), parameters (trainable), statistics.

    The last row holds the totals.
    """
    rows: list[dict[str, object]] = []

    def record(name: str, module: nn.Module, output: torch.Tensor) -> None:
        _, channels, rows_out, columns_out = output.shape
        rows.append(
            {
                "layer": name,
                "kind": LEAF_NAMES.get(type(module), type(module).__name__),
                "output_shape": f"{rows_out} x {columns_out} x {channels}",
                "parameters": sum(p.numel() for p in module.parameters()),
                "statistics": sum(b.numel() for n, b in module.named_buffers() if n != "num_batches_tracked"),
            }
        )

    handles = [
        module.register_forward_hook(lambda m, _, out, name=name: record(name, m, out))
        for name, module in network.named_modules()
        if not list(module.children())
    ]
    parameter = next(network.parameters())
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 3, height, width, device=parameter.device))
    finally:
        for handle in handles:
            handle.remove()
    table = pd.DataFrame(rows)
    total = {"layer": "total", "kind": "", "output_shape": "", **table[["parameters", "statistics"]].sum().to_dict()}
    return pd.concat([table, pd.DataFrame([total])], ignore_index=True)
