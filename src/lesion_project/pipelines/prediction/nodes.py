"""What must be imported late (torch)."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from lesion_segmentation.prediction.input_images import SelectedImages
from lesion_segmentation.prediction.run_settings import RunSettings
from lesion_segmentation.prediction.tables import PredictionTables


def prepare_predictions(
    trained_networks: Callable[[str], Any], pictures: tuple[SelectedImages, str], settings: RunSettings
) -> Any:
    """The predictions of these pictures, which are made one after the other as they are saved."""
    from lesion_segmentation.prediction.predictions import prepare

    chosen, weights = pictures
    return prepare(trained_networks(weights), chosen, settings)


def count_predictions(predictions: PredictionTables) -> dict[str, float]:
    """How many pictures are done, failed and flagged, and means over those that are done."""
    table = predictions.table
    counts = {
        "pictures": len(table),
        "failed": len(predictions.failures),
        "flagged": int((table["flag"] != "").sum()),
    }
    means = {f"mean_{name}": float(table[name].mean()) for name in ("confidence", "lesion_percent") if len(table)}
    return counts | means


def list_scores(image_score_summary: pd.DataFrame) -> dict[str, float]:
    """The means of all scores, by name."""
    return {f"mean_{row.metric}": float(row.score) for row in image_score_summary.itertuples()}
