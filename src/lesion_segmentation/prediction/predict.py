"""From pictures to probabilities of lesion."""

import numpy as np
import torch
from torch import Tensor

from lesion_segmentation.hardware import choose_hardware, keep_freed_memory
from lesion_segmentation.model import Network
from lesion_segmentation.model.scaling import scale
from lesion_segmentation.prediction.folding import fold_batch_norms

MIRRORS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-1, -2))
"""The picture and its mirror images: the dimensions of (N, C, H, W) that are reversed."""


def predict(
    network: Network,
    images: np.ndarray,
    mirror_mean: bool = False,
    batch_size: int = 10,
    device: str | None = None,
    precision: str = "auto",
) -> np.ndarray:
    """Probability of lesion for each pixel.

    Args:
        network: As load_network returns it; its metadata name the scaling, so no caller has to know it.
        images: uint8 (N, H, W, 3), H and W at least 32.
        mirror_mean: Give the mean over the picture and its three mirror images.
        batch_size: Pictures that are predicted at once.
        device: Where to compute; None is where the network is.
        precision: `auto` is bfloat16 where the device computes with it (docs/benchmarks.md has what that changes),
            else float32; `32-true` is float32 everywhere.

    Returns:
        float32 (N, H, W), 0 to 1. The network is left as and where it was; the process keeps freed memory.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images are {images.dtype} {images.shape}, expected uint8 (N, H, W, 3)")
    target = torch.device(device) if device else next(network.parameters()).device
    dtype = torch.bfloat16 if choose_hardware(target.type, precision).precision == "bf16-mixed" else torch.float32
    keep_freed_memory()
    folded = fold_batch_norms(network).to(target, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.inference_mode():
        batches = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).split(batch_size)
        maps = [_predict_batch(folded, batch.to(target).float(), dtype, mirror_mean).cpu() for batch in batches]
    return torch.cat(maps).numpy() if maps else np.empty(images.shape[:3], dtype=np.float32)


def _predict_batch(network: Network, pixels: Tensor, dtype: torch.dtype, mirror_mean: bool) -> Tensor:
    """(N, 3, H, W), 0 to 255, to (N, H, W)."""
    scaled = scale(pixels, network.metadata).to(dtype, memory_format=torch.channels_last)
    mirrors = MIRRORS if mirror_mean else MIRRORS[:1]
    maps = [network(scaled.flip(dims)).float().sigmoid().flip(dims) for dims in mirrors]
    return torch.stack(maps).mean(dim=0)[:, 0]
