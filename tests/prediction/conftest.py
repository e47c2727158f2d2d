"""Images for predictions by several processes."""

import numpy as np
import pytest
from PIL import Image

from lesion_segmentation.model import NetworkMetadata, build_network, save_network


@pytest.fixture
def many_images(tmp_path):
    """Create a folder with forty images, a damaged image and a text file; and weights."""
    folder, generator = tmp_path / "in", np.random.default_rng(0)
    for number in range(40):
        path = folder / f"ward {number % 3}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (40 + number, 70, 3), dtype=np.uint8)).save(path)
    (folder / "bad.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("no image either")
    weights = tmp_path / "network.safetensors"
    save_network(build_network(NetworkMetadata("segnet", {"width": 0.0625}, (64, 96))), weights)
    return folder, weights
