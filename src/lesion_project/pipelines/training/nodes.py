"""What must be imported late (torch) and put together: a training and what its weights say of themselves."""

import logging
import math
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from lesion_segmentation.core.display_names import name_source
from lesion_segmentation.data.cases import ImageSize
from lesion_segmentation.data.splits import check_origin
from lesion_segmentation.prediction.settings import PredictionSettings
from lesion_segmentation.training.callbacks import Callbacks
from lesion_segmentation.training.settings import TrainingSettings

logger = logging.getLogger(__name__)

PATIENCE_MINUTES = 45
CALIBRATION_CASES = 200


def choose_initialization(
    encoders: Mapping[str, Any],
    trained_networks: Callable[[str], Any],
    scored_samples: pd.DataFrame,
    split: pd.DataFrame,
    settings: TrainingSettings,
) -> Any:
    """The weights that the network begins with, if any, which must not have seen what is scored here."""
    from lesion_segmentation.training import initialization

    check_origin(scored_samples, split)
    chosen = initialization.choose_initialization(encoders, trained_networks, settings)
    if chosen.network is not None:
        initialization.require_unseen(chosen.network, scored_samples)
    return chosen


def initialize_network(
    initialization: Any,
    sample_images: Mapping[str, np.ndarray],
    guarded_samples: pd.DataFrame,
    scored_samples: pd.DataFrame,
    settings: TrainingSettings,
    image_size: ImageSize,
    prediction: PredictionSettings,
) -> Any:
    """What the training begins with; its metadata name data and split, and how it is to predict."""
    from lesion_segmentation.training.initialization import list_seen
    from lesion_segmentation.training.loop import prepare_network

    train = guarded_samples.loc[guarded_samples["subset"] == "train", "sample_id"]
    network = prepare_network(settings, (sample_images[sample_id] for sample_id in train), initialization)
    earlier = initialization.network
    seen, seen_unnamed = list_seen(scored_samples, earlier)
    network.metadata = replace(
        network.metadata,
        resizing=image_size.resizing,
        framing=image_size.framing,
        test_time_augmentation=prediction.test_time_augmentation,
        keep_largest_component=prediction.keep_largest_component,
        source=name_source(scored_samples),
        data_hash=scored_samples["data_hash"].iloc[0],
        split_hash=guarded_samples["split_hash"].iloc[0],
        seen=seen,
        seen_unnamed=seen_unnamed,
        initialized_from=earlier.metadata.mlflow_run_id if earlier else settings.encoder_weights or "",
    )
    return network


def fit_network(
    initial_network: Any,
    sample_images: Mapping[str, np.ndarray],
    sample_masks: Mapping[str, np.ndarray],
    guarded_samples: pd.DataFrame,
    settings: TrainingSettings,
    callbacks: Callbacks,
    checkpoint_file: Any,
) -> tuple[Any, pd.DataFrame]:
    """Train on what the guard passed; the network's metadata then name the run."""
    from lesion_segmentation.training.loop import fit

    _warn_of_cost(initial_network, settings, guarded_samples)
    network, history = fit(
        sample_images, sample_masks, guarded_samples, settings, callbacks, checkpoint_file, initial_network
    )
    network.metadata = replace(network.metadata, mlflow_run_id=callbacks.run_id, commit=callbacks.commit)
    return network, history


def calibrate_network(
    trained_network: Any,
    sample_images: Mapping[str, np.ndarray],
    sample_masks: Mapping[str, np.ndarray],
    guarded_samples: pd.DataFrame,
    settings: TrainingSettings,
) -> Any:
    """The network with the temperature that fits the validation cases, some hundred of them where there are more."""
    from lesion_segmentation.evaluation.temperature import fit_temperature

    validation = guarded_samples[guarded_samples["subset"] == "validation"].sort_values("sample_id")
    chosen = validation.iloc[:: max(1, math.ceil(len(validation) / CALIBRATION_CASES))]
    if not settings.calibrate or chosen.empty:
        return trained_network
    logits = _view_logits(trained_network, sample_images, chosen, settings)
    temperature = fit_temperature(
        np.stack([logits[sample_id] for sample_id in chosen["sample_id"]], axis=1),
        np.stack([sample_masks[sample_id] for sample_id in chosen["sample_id"]]),
    )
    logger.info("Temperature %.2f, of %d validation cases", temperature, len(chosen))
    network = copy(trained_network)
    network.metadata = replace(network.metadata, temperature=temperature)
    return network


def _view_logits(
    network: Any, images: Mapping[str, np.ndarray], samples: pd.DataFrame, settings: TrainingSettings
) -> dict[str, np.ndarray]:
    """Of each sample (views, H, W), from the map of its source."""
    from lesion_segmentation.prediction import Predictor

    sources = samples["source"] if network.annotation_styles else pd.Series("", index=samples.index)
    found = {}
    for source, part in samples.groupby(sources):
        predictor = Predictor(network, settings.device, settings.precision, annotation_style=source or None)
        for sample_id in part["sample_id"]:
            found[sample_id] = predictor.view_logits([images[sample_id]])[:, 0].half().cpu().numpy()
    return found


def _warn_of_cost(network: Any, settings: TrainingSettings, samples: pd.DataFrame) -> None:
    from lesion_segmentation.core.hardware import choose_hardware, estimate_minutes

    hardware = choose_hardware(settings.device, settings.precision)
    if hardware.device != "cpu":
        return
    images = int((samples["subset"] == "train").sum()) * settings.epochs
    height, width = network.metadata.input_size
    minutes = estimate_minutes(network, height, width, images, hardware.precision)
    logger.info("Training on the CPU: about %.0f minutes, estimated from a forward pass", minutes)
    if minutes > PATIENCE_MINUTES:
        logger.warning(
            "No GPU is used: this will take about %.1f hours. For two cores: kedro run --env cpu", minutes / 60
        )
