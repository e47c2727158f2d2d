"""The network that comes with the project: its weights, README.md (the model card), LICENSE, and the card's figures."""

import json
from pathlib import Path

WEIGHTS = Path(__file__).parent / "network.safetensors"
"""The file that is predicted with where nobody names another."""


def read_figures() -> dict[str, float]:
    """What the card says of PH2: dice, iou and accuracy as fractions, and cases."""
    figures: dict[str, float] = json.loads((Path(__file__).parent / "figures.json").read_text())
    return figures
