"""How often the samples of each source are seen in an epoch."""

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor

from lesion_segmentation.errors import InputError


def require_sources(seen_per_epoch: Mapping[str, float], sources: Sequence[str]) -> None:
    """Refuse names of sources that are not among the data.

    Raises:
        InputError: Names them, and those that there are.
    """
    unknown = sorted(set(seen_per_epoch) - set(sources))
    if unknown:
        raise InputError(
            f"training.seen_per_epoch has {', '.join(unknown)}, expected some of: {', '.join(sorted(set(sources)))}"
        )


def count_seen(sources: Sequence[str], seen_per_epoch: Mapping[str, float]) -> dict[str, int]:
    """How many samples of each source an epoch shows; those of a source that is not named are seen once."""
    return {
        source: max(1, round(count * seen_per_epoch.get(source, 1.0))) for source, count in Counter(sources).items()
    }


def draw_order(sources: Sequence[str], seen_per_epoch: Mapping[str, float], generator: Generator) -> Tensor:
    """The samples of an epoch by number, shuffled: each source's as often as it is to be seen, the rest drawn anew."""
    if not seen_per_epoch:
        return torch.randperm(len(sources), generator=generator)
    parts = []
    for source, wanted in count_seen(sources, seen_per_epoch).items():
        own = torch.tensor([number for number, each in enumerate(sources) if each == source])
        times, rest = divmod(wanted, len(own))
        parts += [own] * times + [own[torch.randperm(len(own), generator=generator)[:rest]]]
    order = torch.cat(parts)
    return order[torch.randperm(len(order), generator=generator)]
