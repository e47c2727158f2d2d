"""Pictures, masks and probability maps at another size, each in the one way that the project uses for it."""

import numpy as np
from PIL import Image


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (H, W, 3) to (height, width, 3) with Lanczos, as the paper's code does."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """0 and 1, (H, W), to uint8 (height, width) by the nearest neighbour, which keeps masks binary."""
    picture = Image.fromarray(mask.astype(bool))
    return np.asarray(picture.resize((width, height), Image.Resampling.NEAREST), dtype=np.uint8)


def resize_probability(probability: np.ndarray, height: int, width: int) -> np.ndarray:
    """A probability map (H, W) to float32 (height, width), bilinear."""
    if probability.shape == (height, width):
        return probability.astype(np.float32, copy=False)
    picture = Image.fromarray(probability.astype(np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
