"""Nodes that import torch late, or that turn tables into metrics."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from lesion_segmentation.prediction.input_images import SelectedImages
from lesion_segmentation.prediction.settings import PredictionSettings
from lesion_segmentation.prediction.store import PredictionStore
from lesion_segmentation.prediction.tables import PredictionTables


def predict_input_images(
    trained_networks: Callable[[str], Any],
    input_images: SelectedImages,
    prediction_target: tuple[PredictionStore, str, int | None, str | None],
    settings: PredictionSettings,
) -> PredictionTables:
    """Predict the images that the target lacks, one batch at a time, and return the tables of the target.

    Masks go directly from the network to the store in the target, since they may be more than fit into memory.
    """
    from lesion_segmentation.prediction.request import predict_selected

    store, weights, workers, scheduler = prediction_target
    predict_selected(trained_networks(weights), input_images, store, settings, workers, scheduler)
    return store.read_tables()


def count_predictions(predictions: PredictionTables) -> dict[str, float]:
    """Count finished, failed and flagged images, and average confidence and lesion size over the finished ones."""
    table = predictions.table
    flagged = int((table["flag"] != "").sum())
    counts = {"images": len(table), "failed": len(predictions.failures), "flagged": flagged}
    means = {f"mean_{name}": float(table[name].mean()) for name in ("confidence", "lesion_percent") if len(table)}
    return counts | means


def list_scores(image_score_summary: pd.DataFrame) -> dict[str, float]:
    """Return the mean of each score by the name of its metric in MLflow."""
    return {f"mean_{row.metric}": float(row.score) for row in image_score_summary.itertuples()}
