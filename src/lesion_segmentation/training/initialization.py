"""What a training begins with: fresh weights, an encoder that others trained, or a network that was trained before."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import pandas as pd

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.model import Network, NetworkMetadata, check_options
from lesion_segmentation.model.encoders import EncoderWeights, find_encoder
from lesion_segmentation.training.settings import TrainingSettings

HASH_LENGTH = 12
"""Of the digits of a picture's hash that a network remembers it by."""


class Initialization(NamedTuple):
    """At most one of the two; fresh weights where it is neither."""

    encoder: EncoderWeights | None = None
    network: Network | None = None


def choose_initialization(
    encoders: Mapping[str, Callable[[], EncoderWeights]],
    find_network: Callable[[str], Network],
    settings: TrainingSettings,
) -> Initialization:
    """What `encoder_weights` or `init_from` names.

    Raises:
        InputError: It is not there, or it cannot be what these settings begin with.
    """
    encoder = find_encoder(encoders, settings.encoder_weights)
    network = None if settings.init_from is None else find_network(settings.init_from)
    if network is not None:
        _require_same_kind(network, settings)
    return Initialization(encoder, network)


def require_unseen(network: Network, scored_samples: pd.DataFrame) -> None:
    """Refuse to begin with a network that was trained on what validation or test is scored on.

    Args:
        network: Of an earlier training.
        scored_samples: case_id, subset, source, split_hash and image_sha256 of the cases at hand.

    Raises:
        InputError: Names such cases; or the network does not say what it saw, and may have seen them.
    """
    metadata, scored = network.metadata, scored_samples[scored_samples["subset"] != "train"]
    known = scored["image_sha256"].str[:HASH_LENGTH].isin(set(metadata.seen))
    problems = [f"{row.case_id} ({row.subset})" for row in scored[known].itertuples()]
    if problems:
        raise InputError(
            f"training.init_from was trained on {len(problems)} of the cases that are scored here, such as "
            f"{', '.join(problems[:3])}. Begin with weights of the same split, or of other data."
        )
    sources, same_split = set(scored_samples["source"]), metadata.split_hash == scored_samples["split_hash"].iloc[0]
    unnamed = [name for name in _find_unnamed(metadata) if not name or any(source in name for source in sources)]
    if unnamed and not (same_split and not metadata.seen):
        raise InputError(
            f"training.init_from was trained on {unnamed[0] or 'data without a name'}, perhaps under another split, "
            "and its file does not say on which cases: some may be scored here. Begin with weights of the same split."
        )


def list_seen(scored_samples: pd.DataFrame, earlier: Network | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What this training, and what it began with, has seen.

    Returns:
        The pictures by the first digits of their hashes, and the sources of those that cannot be named.
    """
    train = scored_samples.loc[scored_samples["subset"] == "train", "image_sha256"].str[:HASH_LENGTH]
    if earlier is None:
        return tuple(sorted(train)), ()
    return tuple(sorted({*train, *earlier.metadata.seen})), _find_unnamed(earlier.metadata)


def _find_unnamed(metadata: NetworkMetadata) -> tuple[str, ...]:
    """Files of before do not name what they saw at all."""
    return metadata.seen_unnamed if metadata.seen else (metadata.source,)


def take_weights(network: Network, earlier: Network) -> None:
    """Let a network begin with the weights and running statistics of another of the same kind."""
    network.load_own_state(earlier.own_state())


def _require_same_kind(network: Network, settings: TrainingSettings) -> None:
    had = {"architecture": network.metadata.architecture, **network.metadata.options}
    asked_for = {"architecture": settings.architecture}
    asked_for |= check_options(settings.architecture, settings.network_options)
    problems = [
        f"{name} is {asked_for.get(name, 'no option here')}, in training.init_from {had.get(name, 'no option')}"
        for name in sorted(had.keys() | asked_for.keys())
        if had.get(name) != asked_for.get(name)
    ]
    if problems:
        raise InputError.from_problems(
            "This network cannot begin with that one", problems, "Ask for the same architecture and options."
        )
