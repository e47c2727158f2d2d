"""Samples for training and scoring. A sample is an original case or an augmented copy of one."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import field_validator

from lesion_segmentation.core.parameter_model import ParameterModel, Seed
from lesion_segmentation.data.cases import DataSettings
from lesion_segmentation.data.splits import DEVELOPMENT, find_protocol, leaks, require_same_split
from lesion_segmentation.data.summary import data_hash

ORIGINAL = "original"


class Sample(NamedTuple):
    """Image, uint8 (H, W, 3), and its mask, uint8 (H, W), 0 or 1."""

    image: np.ndarray
    mask: np.ndarray


COPIES: dict[str, Callable[[Sample, np.random.Generator], Sample]] = {}
"""Functions that make copies, by name. Other modules register theirs here, as lesion_segmentation.paper does."""


class AugmentationSettings(ParameterModel):
    """The parameters `augmentation`.

    Attributes:
        copies: The copies of each training case (keys of COPIES), in this order. None are needed with online
            augmentation.
        seed: Seed of the random parameters of the copies.
    """

    copies: tuple[str, ...] = ()
    seed: Seed = 0

    @field_validator("copies")
    @classmethod
    def _are_known(cls, copies: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in copies if name not in COPIES]
        if unknown:
            known = ", ".join(COPIES) or "none"
            raise ValueError(f"augmentation.copies contains {', '.join(unknown)}, expected some of: {known}")
        return copies


def make_samples(
    images: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    split: pd.DataFrame,
    settings: AugmentationSettings,
) -> tuple[pd.DataFrame, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Make the samples: each case once, and copies of the training cases.

    The images, uint8 (H, W, 3), and masks, uint8 (H, W), 0 or 1, are keyed by case_id. `split_cases` returns the split.
    If the protocol assigns samples instead of cases, all development cases are copied before the samples are assigned
    to training and validation.

    Returns:
        The sample table with sample_id, case_id, transform, subset and, if known, source and annotation_style, the
        images by sample_id, and the masks by sample_id. The rows are the originals of training and validation, then
        each kind of copy, then the test cases.
    """
    table = _list_samples(split, settings)
    generator = np.random.default_rng(settings.seed)
    samples = {}
    for row in table.itertuples():
        sample = Sample(images[row.case_id], masks[row.case_id])
        samples[row.sample_id] = sample if row.transform == ORIGINAL else COPIES[row.transform](sample, generator)
    sample_images = {sample_id: sample.image for sample_id, sample in samples.items()}
    return table, sample_images, {sample_id: sample.mask for sample_id, sample in samples.items()}


def choose_targets(
    sample_masks: Mapping[str, np.ndarray],
    annotator_masks: Mapping[str, np.ndarray],
    samples: pd.DataFrame,
    data: DataSettings,
) -> Mapping[str, np.ndarray]:
    """Return the masks to train on: those of the samples or, if `data.consensus` is soft, the means of the annotators'.

    Returns:
        sample_id to uint8 (H, W), 0 or 1, or for the original training cases of a soft consensus to float32, 0 to 1.
    """
    if data.consensus != "soft" or not annotator_masks:
        return sample_masks
    names = defaultdict(list)
    for name in annotator_masks:  # <case_id>/<annotator>
        names[name.partition("/")[0]].append(name)
    rows = samples[samples["subset"] != "test"]
    targets = {sample_id: sample_masks[sample_id] for sample_id in rows["sample_id"]}
    for sample_id in rows.loc[rows["subset"] == "train", "sample_id"]:
        masks = [annotator_masks[name] for name in names[sample_id]] or [sample_masks[sample_id]]
        targets[sample_id] = np.asarray(np.mean(masks, axis=0, dtype=np.float32))
    return targets


def list_scored(guarded_samples: pd.DataFrame, split: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """List the samples to score: each case once, and the copies too if the protocol assigns samples.

    Returns:
        Columns sample_id, case_id, subset, split_hash, protocol, source, image_sha256, data_hash.
    """
    require_same_split(guarded_samples, split)
    protocol = split["protocol"].iloc[0]
    chosen = guarded_samples if leaks(protocol) else guarded_samples[guarded_samples["transform"] == ORIGINAL]
    table = chosen[["sample_id", "case_id", "subset", "split_hash"]].assign(protocol=protocol)
    known = cases[["case_id", "source", "image_sha256"]]
    return table.merge(known, on="case_id", how="left").assign(data_hash=data_hash(cases))


def _list_samples(split: pd.DataFrame, settings: AugmentationSettings) -> pd.DataFrame:
    known = [name for name in ("case_id", "subset", "source", "annotation_style") if name in split]
    ordered = split[known].sort_values("case_id").assign(transform=ORIGINAL)
    rest, test = ordered[ordered["subset"] != "test"], ordered[ordered["subset"] == "test"]
    copied = rest[rest["subset"] != "validation"]
    table = pd.concat([rest, *(copied.assign(transform=copy) for copy in settings.copies)], ignore_index=True)
    assign = find_protocol(split["protocol"].iloc[0]).assign_samples
    if assign is not None and (table["subset"] == DEVELOPMENT).any():
        table["subset"] = assign(table)
    table = pd.concat([table, test], ignore_index=True)
    names = np.where(table["transform"] == ORIGINAL, table["case_id"], table["case_id"] + "_" + table["transform"])
    columns = ["sample_id", "case_id", "transform", "subset", *known[2:]]
    return table.assign(sample_id=names)[columns]
