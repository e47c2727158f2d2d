"""Pictures to be predicted, by more than one process."""

import numpy as np
import pytest
from PIL import Image

from lesion_segmentation.model import NetworkMetadata, build_network, save_network


@pytest.fixture
def many_pictures(tmp_path):
    """A folder with forty pictures, one that is damaged and a text; and weights."""
    folder, generator = tmp_path / "in", np.random.default_rng(0)
    for number in range(40):
        path = folder / f"ward {number % 3}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (40 + number, 70, 3), dtype=np.uint8)).save(path)
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("no picture either")
    weights = tmp_path / "network.safetensors"
    save_network(build_network(NetworkMetadata("segnet", {"width": 0.0625}, (64, 96))), weights)
    return folder, weights
