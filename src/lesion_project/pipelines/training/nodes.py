"""Nodes that train a network and complete its metadata. They import torch only when they run."""

import logging
import math
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lesion_segmentation.core.display_names import name_source
from lesion_segmentation.core.errors import pluralize
from lesion_segmentation.data.cases import ImageSize
from lesion_segmentation.data.splits import require_same_split
from lesion_segmentation.prediction.settings import PredictionSettings
from lesion_segmentation.training.callbacks import Callbacks
from lesion_segmentation.training.settings import TrainingSettings

logger = logging.getLogger(__name__)

PATIENCE_MINUTES = 45
CALIBRATION_CASES = 200


class CheckedInitialization(NamedTuple):
    """The weights that a training starts from, and the metadata of its network that depend on the cases."""

    initialization: Any
    metadata: dict[str, Any]


def choose_initialization(
    pretrained_weights: Mapping[str, Any],
    trained_networks: Callable[[str], Any],
    scored_samples: pd.DataFrame,
    split: pd.DataFrame,
    settings: TrainingSettings,
) -> CheckedInitialization:
    """Choose the weights to initialize from, if any, which must not have been trained on validation or test cases."""
    from lesion_segmentation.training import initialization

    require_same_split(scored_samples, split)
    chosen = initialization.choose_initialization(pretrained_weights, trained_networks, settings)
    earlier = chosen.network
    if earlier is not None:
        initialization.require_unseen(earlier, scored_samples)
    seen, seen_unnamed = initialization.list_seen(scored_samples, earlier)
    metadata = {
        "source": name_source(scored_samples),
        "data_hash": scored_samples["data_hash"].iloc[0],
        "seen": seen,
        "seen_unnamed": seen_unnamed,
        "initialized_from": earlier.metadata.mlflow_run_id if earlier else settings.encoder_weights or "",
    }
    return CheckedInitialization(chosen, metadata)


def initialize_network(
    initialization: CheckedInitialization,
    sample_images: Mapping[str, np.ndarray],
    guarded_samples: pd.DataFrame,
    settings: TrainingSettings,
    image_size: ImageSize,
    prediction: PredictionSettings,
) -> Any:
    """Build the network, whose metadata name the data and the split and say how it should predict."""
    from lesion_segmentation.training.initialization import prepare_network

    train = guarded_samples.loc[guarded_samples["subset"] == "train", "sample_id"]
    images = (sample_images[sample_id] for sample_id in train)
    network = prepare_network(settings, images, initialization.initialization)
    network.metadata = replace(
        network.metadata,
        resizing=image_size.resizing,
        framing=image_size.framing,
        **prediction.resolve(network.metadata),
        split_hash=guarded_samples["split_hash"].iloc[0],
        **initialization.metadata,
    )
    return network


def fit_network(
    initial_network: Any,
    sample_images: Mapping[str, np.ndarray],
    target_masks: Mapping[str, np.ndarray],
    guarded_samples: pd.DataFrame,
    settings: TrainingSettings,
    this_run: Mapping[str, Any],
) -> tuple[Any, pd.DataFrame]:
    """Train on the samples that passed the leak guard, with the run's `callbacks` and `checkpoint_file`."""
    from lesion_segmentation.training.loop import fit
    from lesion_segmentation.training.samples import TrainingData

    _log_expected_time(initial_network, settings, guarded_samples)
    data = TrainingData(sample_images, target_masks, guarded_samples)
    network, history = fit(data, settings, network=initial_network, **this_run)
    callbacks: Callbacks = this_run["callbacks"]
    network.metadata = replace(network.metadata, mlflow_run_id=callbacks.run_id, commit=callbacks.commit)
    return network, history


def calibrate_network(
    trained_network: Any,
    sample_images: Mapping[str, np.ndarray],
    sample_masks: Mapping[str, np.ndarray],
    guarded_samples: pd.DataFrame,
    settings: TrainingSettings,
) -> Any:
    """Return the network with a temperature and expected Dice that are fitted to at most 200 validation cases."""
    from lesion_segmentation.evaluation.calibration import apply_temperature, fit_temperature
    from lesion_segmentation.evaluation.expected_dice import fit_expected_dice

    validation = guarded_samples[guarded_samples["subset"] == "validation"].sort_values("sample_id")
    chosen = validation.iloc[:: max(1, math.ceil(len(validation) / CALIBRATION_CASES))]
    if not settings.calibrate or chosen.empty:
        return trained_network
    found = _flip_logits(trained_network, sample_images, chosen, settings)
    logits = np.stack([found[sample_id] for sample_id in chosen["sample_id"]], axis=1)
    masks = np.stack([sample_masks[sample_id] for sample_id in chosen["sample_id"]])
    temperature = fit_temperature(logits, masks)
    logger.info("Fitted the temperature %.2f to %s", temperature, pluralize(len(chosen), "validation case"))
    network = copy(trained_network)
    metadata, probabilities = network.metadata, apply_temperature(logits, temperature)
    knots = fit_expected_dice(probabilities, masks, metadata.threshold, metadata.keep_largest_component)
    network.metadata = replace(metadata, temperature=temperature, expected_dice=knots)
    return network


def _flip_logits(
    network: Any, images: Mapping[str, np.ndarray], samples: pd.DataFrame, settings: TrainingSettings
) -> dict[str, np.ndarray]:
    """Return the logits of each sample, float16 (flips, H, W), from the output head of its annotation style."""
    from lesion_segmentation.prediction import Predictor
    from lesion_segmentation.training.samples import choose_styles

    heads = network.annotation_styles
    styles = choose_styles(samples, heads) if heads else pd.Series("", index=samples.index)
    found: dict[str, np.ndarray] = {}
    for style, part in samples.groupby(styles):
        predictor = Predictor(network, settings.device, settings.precision, annotation_style=style or None)
        for start in range(0, len(part), predictor.batch_size):
            ids = part["sample_id"].iloc[start : start + predictor.batch_size].tolist()
            logits = predictor.flip_logits([images[sample_id] for sample_id in ids]).half().cpu().numpy()
            found |= {sample_id: logits[:, number] for number, sample_id in enumerate(ids)}
    return found


def _log_expected_time(network: Any, settings: TrainingSettings, samples: pd.DataFrame) -> None:
    from lesion_segmentation.core.hardware import choose_hardware, estimate_minutes, keep_freed_memory, use_threads
    from lesion_segmentation.training.samples import count_samples_per_epoch

    hardware = choose_hardware(settings.device, settings.precision)
    if hardware.device != "cpu":
        return
    keep_freed_memory()
    use_threads(settings.threads)
    train = samples[samples["subset"] == "train"]
    sources = train["source"].tolist() if "source" in train else [""] * len(train)
    images = sum(count_samples_per_epoch(sources, settings.source_rates).values())
    epochs = settings.epochs - 0.75 * settings.half_size_epochs  # an image of half height and width takes a quarter
    height, width = network.metadata.input_size
    minutes = estimate_minutes(network, height, width, round(images * epochs), hardware.precision)
    shown = f"about {minutes / 60:.1f} hours" if minutes >= 90 else f"about {pluralize(round(minutes), 'minute')}"
    message = f"Training on the CPU will take {shown if minutes >= 1 else 'less than a minute'}"
    if minutes > PATIENCE_MINUTES:
        remedy = "A smaller width, fewer epochs or another recipe of docs/how_to/recipes.md takes less time."
        logger.warning("%s. %s", message, remedy)
    else:
        logger.info(message)
