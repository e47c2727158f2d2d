"""From pictures to probabilities of lesion."""

import numpy as np
import torch
from torch import Tensor, nn

MIRRORS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-1, -2))
"""The picture and its mirror images: the dimensions of (N, C, H, W) that are reversed."""


def scale(pixels: Tensor, network: nn.Module) -> Tensor:
    """Raw pixels (N, 3, H, W), 0 to 255, as the network's metadata say it wants them."""
    mean, std = (
        pixels.new_tensor(values).view(1, 3, 1, 1) for values in (network.metadata.input_mean, network.metadata.input_std)
    )
    return (pixels - mean) / std


def predict(network: nn.Module, images: np.ndarray, mirror_mean: bool = False, batch_size: int = 10) -> np.ndarray:
    """Probability of lesion for each pixel.

    Args:
        network: As load_network returns it; its metadata name the scaling, so no caller has to know it.
        images: uint8 (N, H, W, 3), H and W at least 32.
        mirror_mean: Give the mean over the picture and its three mirror images.
        batch_size: Pictures that are predicted at once.

    Returns:
        float32 (N, H, W), 0 to 1. Computed in float32 on the network's device; the network is left as it was.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images are {images.dtype} {images.shape}, expected uint8 (N, H, W, 3)")
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            batches = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).split(batch_size)
            maps = [_predict_batch(network, batch.to(device).float(), mirror_mean).cpu() for batch in batches]
    finally:
        network.train(was_training)
    return torch.cat(maps).numpy() if maps else np.empty(images.shape[:3], dtype=np.float32)


def _predict_batch(network: nn.Module, pixels: Tensor, mirror_mean: bool) -> Tensor:
    """(N, 3, H, W), 0 to 255, to (N, H, W)."""
    scaled = scale(pixels, network)
    mirrors = MIRRORS if mirror_mean else MIRRORS[:1]
    maps = [network(scaled.flip(dims)).float().sigmoid().flip(dims) for dims in mirrors]
    return torch.stack(maps).mean(dim=0)[:, 0]
