"""Training and validation samples: arrays on the host, tensors on the training device, and their order in an epoch."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor

from lesion_segmentation.core.errors import InputError


class TrainingData(NamedTuple):
    """Samples that a network is trained and validated on.

    Attributes:
        images: sample_id to uint8 (H, W, 3), all of one size.
        masks: sample_id to uint8 (H, W), 0 or 1, or for training to float32, 0 to 1, the mean of several annotators.
        samples: Columns sample_id, subset and, if there are several, source and annotation_style, in the order before
            shuffling. Subsets other than train and validation are ignored.
    """

    images: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray]
    samples: pd.DataFrame

    def select(self, subset: str) -> "TrainingData":
        """Return the samples of one subset."""
        return self._replace(samples=self.samples[self.samples["subset"] == subset])

    @property
    def sample_ids(self) -> list[str]:
        return list(self.samples["sample_id"])


@dataclass(frozen=True)
class SampleTensors:
    """The N samples of a subset on the training device.

    Attributes:
        images: uint8 (N, 3, H, W).
        masks: uint8 (N, 1, H, W), 0 or 1, or float32, 0 to 1.
        sources: Source of each sample.
        annotation_styles: Index of the output head that learns each sample (`choose_styles`), (N,).
    """

    images: Tensor
    masks: Tensor
    sources: Sequence[str]
    annotation_styles: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return images (n, 3, H, W), 0 to 255, and masks (n, 1, H, W), both float32."""
        return self.images[indices].float(), self.masks[indices].float()


def load_samples(
    data: TrainingData, device: torch.device | str, annotation_styles: Sequence[str] = ()
) -> SampleTensors:
    """Copy all samples to the device. Ten thousand of 192 x 256 pixels take two gigabytes.

    Raises:
        InputError: The network has annotation styles, but none for one of the samples.
    """
    ids = data.sample_ids
    if not ids:
        return SampleTensors(torch.empty(0, 3, 0, 0), torch.empty(0, 1, 0, 0), [], torch.empty(0, dtype=torch.long))
    height, width, _ = data.images[ids[0]].shape
    images = torch.empty(len(ids), 3, height, width, dtype=torch.uint8)
    soft = data.masks[ids[0]].dtype.kind == "f"
    masks = torch.empty(len(ids), 1, height, width, dtype=torch.float32 if soft else torch.uint8)
    for index, sample_id in enumerate(ids):  # np.stack would need the memory twice
        images.numpy()[index] = data.images[sample_id].transpose(2, 0, 1)
        masks.numpy()[index, 0] = data.masks[sample_id]
    sources = list(data.samples["source"]) if "source" in data.samples else [""] * len(ids)
    styles = list(choose_styles(data.samples, annotation_styles)) if annotation_styles else []
    heads = torch.tensor([annotation_styles.index(style) for style in styles] or [0] * len(ids))
    return SampleTensors(images.to(device), masks.to(device), sources, heads.to(device))


def choose_styles(samples: pd.DataFrame, annotation_styles: Sequence[str]) -> pd.Series:
    """Return the name of the output head that learns each sample: its annotation style, or else its source."""
    source = samples["source"] if "source" in samples else pd.Series("", index=samples.index)
    style = samples.get("annotation_style", source)
    chosen = style.where(style.isin(annotation_styles), source)
    if unknown := sorted(name or "an unnamed source" for name in set(chosen) - set(annotation_styles)):
        raise InputError(
            f"training.options.annotation_styles are {', '.join(annotation_styles)}, but there are training images of "
            f"{', '.join(unknown)} that have none of these styles. Add the source to the styles."
        )
    return chosen


def require_sources(source_rates: Mapping[str, float], sources: Sequence[str]) -> None:
    """Raise an InputError if a source with a rate does not occur in the data."""
    unknown = sorted(set(source_rates) - set(sources))
    if unknown:
        raise InputError(
            f"training.source_rates has {', '.join(unknown)}, expected some of: {', '.join(sorted(set(sources)))}."
        )


def count_samples_per_epoch(sources: Sequence[str], source_rates: Mapping[str, float]) -> dict[str, int]:
    """Return the number of samples of each source in an epoch; sources without a rate have rate 1."""
    require_sources(source_rates, sources)
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
