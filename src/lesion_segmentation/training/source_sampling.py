"""Sampling rates: how often an epoch shows the samples of each source."""

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor

from lesion_segmentation.core.errors import InputError


def require_sources(source_rates: Mapping[str, float], sources: Sequence[str]) -> None:
    """Check that all sources with a rate occur in the data.

    Raises:
        InputError: Some do not; the message names them and the sources of the data.
    """
    unknown = sorted(set(source_rates) - set(sources))
    if unknown:
        raise InputError(
            f"training.source_rates has {', '.join(unknown)}, expected some of: {', '.join(sorted(set(sources)))}."
        )


def count_samples_per_epoch(sources: Sequence[str], source_rates: Mapping[str, float]) -> dict[str, int]:
    """Return the number of samples of each source in an epoch; sources without a rate have rate 1."""
    return {source: max(1, round(count * source_rates.get(source, 1.0))) for source, count in Counter(sources).items()}


def sample_order(sources: Sequence[str], source_rates: Mapping[str, float], generator: Generator) -> Tensor:
    """Return the shuffled sample indices of an epoch.

    A source with rate r contributes each sample floor(r) times, and the remainder by random choice without replacement.
    """
    if not source_rates:
        return torch.randperm(len(sources), generator=generator)
    parts = []
    for source, wanted in count_samples_per_epoch(sources, source_rates).items():
        own = torch.tensor([index for index, each in enumerate(sources) if each == source])
        times, rest = divmod(wanted, len(own))
        parts += [own] * times + [own[torch.randperm(len(own), generator=generator)[:rest]]]
    order = torch.cat(parts)
    return order[torch.randperm(len(order), generator=generator)]
