"""What must be imported late (torch) and put together: a training and what its weights say of themselves."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from lesion_segmentation.data.passport import data_hash, name_source
from lesion_segmentation.data.splits import check_origin, split_hash
from lesion_segmentation.training.listener import Listener
from lesion_segmentation.training.settings import TrainingSettings

logger = logging.getLogger(__name__)

PATIENCE_MINUTES = 45


def begin_network(
    sample_images: dict[str, np.ndarray],
    guarded_samples: pd.DataFrame,
    split: pd.DataFrame,
    cases: pd.DataFrame,
    encoders: Mapping[str, Any],
    settings: TrainingSettings,
) -> Any:
    """What the training begins with; its metadata name data and split."""
    from lesion_segmentation.model.encoders import find_encoder
    from lesion_segmentation.training.loop import prepare_network

    check_origin(guarded_samples, split)
    train = guarded_samples.loc[guarded_samples["subset"] == "train", "sample_id"]
    encoder = find_encoder(encoders, settings.encoder_weights)
    network = prepare_network(settings, [sample_images[sample_id] for sample_id in train], encoder)
    network.metadata = replace(
        network.metadata, source=name_source(cases), data_hash=data_hash(cases), split_hash=split_hash(split)
    )
    return network


def fit_network(
    initial_network: Any,
    sample_images: dict[str, np.ndarray],
    sample_masks: dict[str, np.ndarray],
    guarded_samples: pd.DataFrame,
    settings: TrainingSettings,
    listener: Listener,
    checkpoint_file: Any,
) -> tuple[Any, pd.DataFrame]:
    """Train on what the guard passed; the network's metadata then name the run."""
    from lesion_segmentation.training.loop import fit

    _warn_of_cost(initial_network, settings, guarded_samples)
    network, history = fit(
        sample_images, sample_masks, guarded_samples, settings, listener, checkpoint_file, initial_network
    )
    network.metadata = replace(network.metadata, mlflow_run_id=listener.run_id, commit=listener.commit)
    return network, history


def _warn_of_cost(network: Any, settings: TrainingSettings, samples: pd.DataFrame) -> None:
    from lesion_segmentation.hardware import choose_hardware, estimate_minutes

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
