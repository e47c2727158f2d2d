"""The network that is distributed with the project: weights, model card (README.md), LICENSE and figures."""

import json
from pathlib import Path

WEIGHTS = Path(__file__).parent / "network.safetensors"
"""The default weights file of predictions."""
MODEL_CARD = WEIGHTS.with_name("README.md")


def read_figures() -> dict[str, float]:
    """Return the figures of the model card on PH2: dice, iou and accuracy as fractions, and the number of cases."""
    figures: dict[str, float] = json.loads((Path(__file__).parent / "figures.json").read_text())
    return figures
