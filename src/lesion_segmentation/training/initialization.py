"""Initialization of a network: fresh weights, published pretrained ones, or those of an earlier training."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.model import Network, NetworkMetadata, build_network, check_options
from lesion_segmentation.model.metadata import Triple
from lesion_segmentation.model.pretrained import PretrainedWeights, find_pretrained
from lesion_segmentation.training.settings import TrainingSettings

HASH_LENGTH = 12
"""Digits of an image's hash that a network keeps in `NetworkMetadata.seen`."""


class Initialization(NamedTuple):
    """The initial weights: at most one of the two, or neither for fresh weights."""

    pretrained: PretrainedWeights | None = None
    network: Network | None = None


def choose_initialization(
    pretrained_weights: Mapping[str, Callable[[], PretrainedWeights]],
    find_network: Callable[[str], Network],
    settings: TrainingSettings,
) -> Initialization:
    """Load what `settings.encoder_weights` or `settings.init_from` names.

    Raises:
        InputError: It does not exist, or its architecture or options differ from those of the settings.
    """
    if settings.init_from is None:
        return Initialization(find_pretrained(pretrained_weights, settings.encoder_weights))
    network = find_network(settings.init_from)
    found = {"architecture": network.metadata.architecture, **network.metadata.options}
    expected = check_options(settings.architecture, settings.network_options)
    expected["architecture"] = settings.architecture
    problems = [
        f"{name} is {expected.get(name, 'no option here')}, in training.init_from {found.get(name, 'no option')}"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]
    if problems:
        title = "The network cannot be initialized from training.init_from"
        raise InputError.from_problems(title, problems, "Set the same architecture and options.")
    return Initialization(network=network)


def prepare_network(
    settings: TrainingSettings, images: Iterable[np.ndarray], initialization: Initialization | None = None
) -> Network:
    """Build a network with weights of `settings.seed`; its metadata hold the input size and scaling.

    Args:
        settings: Architecture, options, scaling and seed are used.
        images: Training images, uint8 (H, W, 3), all of one size.
        initialization: Weights that replace the fresh ones, in the encoder or in the whole network.

    Raises:
        InputError: The architecture or an option is unknown, or the pretrained weights do not fit.
    """
    pretrained, earlier = initialization or Initialization()
    stream = iter(images)
    first = next(stream)
    height, width, _ = first.shape
    metadata = NetworkMetadata(settings.architecture, settings.network_options, input_size=(height, width))
    if earlier is not None:
        metadata = replace(metadata, input_mean=earlier.metadata.input_mean, input_std=earlier.metadata.input_std)
    elif settings.scaling == "standardized":
        mean, std = _measure_pixels(chain([first], stream))
        metadata = replace(metadata, input_mean=mean, input_std=std)
    elif settings.scaling == "encoder" and pretrained is not None:
        metadata = replace(metadata, input_mean=pretrained.input_mean, input_std=pretrained.input_std)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = build_network(metadata)
    if pretrained is not None:
        network.load_pretrained(pretrained.tensors)
    if earlier is not None:
        network.load_own_state(earlier.own_state())
    return network


def require_unseen(network: Network, scored_samples: pd.DataFrame) -> None:
    """Refuse a network that has seen validation or test cases, or may have seen them since its metadata list no images.

    `scored_samples` has the columns case_id, subset, source, split_hash and image_sha256.
    """
    metadata, scored = network.metadata, scored_samples[scored_samples["subset"] != "train"]
    known = scored["image_sha256"].str[:HASH_LENGTH].isin(set(metadata.seen))
    problems = [f"{row.case_id} ({row.subset})" for row in scored[known].itertuples()]
    if problems:
        raise InputError(
            f"training.init_from was trained on {len(problems)} of the validation and test cases, such as "
            f"{', '.join(problems[:3])}. Use weights of the same split, or of other data."
        )
    sources, same_split = set(scored_samples["source"]), metadata.split_hash == scored_samples["split_hash"].iloc[0]
    unnamed = [name for name in _find_unnamed(metadata) if not name or any(source in name for source in sources)]
    if unnamed and not (same_split and not metadata.seen):
        raise InputError(
            f"training.init_from was trained on {unnamed[0] or 'unnamed data'}, perhaps under another split, and its "
            "file does not list the cases: some may be validation or test cases here. Use weights of the same split."
        )


def list_seen(scored_samples: pd.DataFrame, earlier: Network | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """List the images that this training and the one that it is initialized from have seen.

    Returns the first HASH_LENGTH digits of the images' hashes, and the sources of images whose hashes are unknown.
    """
    train = scored_samples.loc[scored_samples["subset"] == "train", "image_sha256"].str[:HASH_LENGTH]
    if earlier is None:
        return tuple(sorted(train)), ()
    return tuple(sorted({*train, *earlier.metadata.seen})), _find_unnamed(earlier.metadata)


def _find_unnamed(metadata: NetworkMetadata) -> tuple[str, ...]:
    """Return the sources of unlisted training images; files of early versions list none of their images."""
    return metadata.seen_unnamed if metadata.seen else (metadata.source,)


def _measure_pixels(images: Iterable[np.ndarray]) -> tuple[Triple, Triple]:
    """Return mean and deviation of each channel over all pixels, from exact integer sums."""
    count, total, squares = 0, np.zeros(3), np.zeros(3)
    for image in images:
        pixels = image.reshape(-1, 3).astype(np.int64)
        count += len(pixels)
        total += pixels.sum(axis=0)
        squares += (pixels**2).sum(axis=0)
    mean = total / count
    return tuple(mean.tolist()), tuple(np.maximum(np.sqrt(squares / count - mean**2), 1.0).tolist())
