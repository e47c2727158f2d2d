"""How often the samples of each source are seen in an epoch."""

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor

from lesion_segmentation.core.errors import InputError


def require_sources(source_rates: Mapping[str, float], sources: Sequence[str]) -> None:
    """Refuse names of sources that are not among the data.

    Raises:
        InputError: Names them, and those that there are.
    """
    unknown = sorted(set(source_rates) - set(sources))
    if unknown:
        raise InputError(
            f"training.source_rates has {', '.join(unknown)}, expected some of: {', '.join(sorted(set(sources)))}"
        )


def count_samples_per_epoch(sources: Sequence[str], source_rates: Mapping[str, float]) -> dict[str, int]:
    """How many samples of each source an epoch shows; those of a source that is not named are seen once."""
    return {source: max(1, round(count * source_rates.get(source, 1.0))) for source, count in Counter(sources).items()}


def sample_order(sources: Sequence[str], source_rates: Mapping[str, float], generator: Generator) -> Tensor:
    """The samples of an epoch by number, shuffled: each source's as often as it is to be seen, the rest drawn anew."""
    if not source_rates:
        return torch.randperm(len(sources), generator=generator)
    parts = []
    for source, wanted in count_samples_per_epoch(sources, source_rates).items():
        own = torch.tensor([number for number, each in enumerate(sources) if each == source])
        times, rest = divmod(wanted, len(own))
        parts += [own] * times + [own[torch.randperm(len(own), generator=generator)[:rest]]]
    order = torch.cat(parts)
    return order[torch.randperm(len(order), generator=generator)]
