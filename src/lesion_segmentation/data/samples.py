"""Samples: what a network is trained on and scored on. A sample is a case as it is, or a copy of one."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import field_validator

from lesion_segmentation.core.parameter_model import ParameterModel, Seed
from lesion_segmentation.data.splits import DEVELOPMENT, check_origin, find_protocol, leaks
from lesion_segmentation.data.summary import data_hash

ORIGINAL = "original"


class Sample(NamedTuple):
    """An image, uint8 (H, W, 3), and its mask, uint8 (H, W), 0 or 1."""

    image: np.ndarray
    mask: np.ndarray


COPIES: dict[str, Callable[[Sample, np.random.Generator], Sample]] = {}
"""Name of a kind of copy to what makes it; none are known here, lesion_segmentation.paper adds its own."""


class AugmentationSettings(ParameterModel):
    """The parameters `augmentation`.

    Attributes:
        copies: Which copies of each training case are made (keys of COPIES), in this order; none where training changes
            its pictures on the fly.
        seed: Of what is random in them.
    """

    copies: tuple[str, ...] = ()
    seed: Seed = 0

    @field_validator("copies")
    @classmethod
    def _are_known(cls, copies: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in copies if name not in COPIES]
        if unknown:
            known = ", ".join(COPIES) or "none"
            raise ValueError(f"augmentation.copies has {', '.join(unknown)}, expected some of: {known}")
        return copies


def make_samples(
    images: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    split: pd.DataFrame,
    settings: AugmentationSettings,
) -> tuple[pd.DataFrame, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Put everything together that is trained on and scored: each case once, and copies of training cases.

    Where the protocol deals samples, all development cases are copied, and then samples, not cases, come into training
    and validation.

    Args:
        images: case_id to uint8 (H, W, 3).
        masks: case_id to uint8 (H, W), 0 or 1.
        split: case_id, subset, protocol.
        settings: Which copies.

    Returns:
        The sample table (sample_id, case_id, transform, subset, source; first the originals of training and validation,
        then their copies, one kind after the other, last the test cases), sample_id to image, sample_id to mask.
    """
    table = _list_samples(split, settings)
    generator = np.random.default_rng(settings.seed)
    samples = {}
    for row in table.itertuples():
        sample = Sample(images[row.case_id], masks[row.case_id])
        samples[row.sample_id] = sample if row.transform == ORIGINAL else COPIES[row.transform](sample, generator)
    sample_images = {sample_id: sample.image for sample_id, sample in samples.items()}
    return table, sample_images, {sample_id: sample.mask for sample_id, sample in samples.items()}


def list_scored(guarded_samples: pd.DataFrame, split: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """What is scored: each case once; where samples are dealt, as in the paper, each copy too.

    Returns:
        sample_id, case_id, subset, split_hash, protocol, source, image_sha256, data_hash.

    Raises:
        InputError: The samples were guarded under another split.
    """
    check_origin(guarded_samples, split)
    protocol = split["protocol"].iloc[0]
    chosen = guarded_samples if leaks(protocol) else guarded_samples[guarded_samples["transform"] == ORIGINAL]
    table = chosen[["sample_id", "case_id", "subset", "split_hash"]].assign(protocol=protocol)
    known = cases[["case_id", "source", "image_sha256"]]
    return table.merge(known, on="case_id", how="left").assign(data_hash=data_hash(cases))


def _list_samples(split: pd.DataFrame, settings: AugmentationSettings) -> pd.DataFrame:
    known = [name for name in ("case_id", "subset", "source") if name in split]
    ordered = split[known].sort_values("case_id").assign(transform=ORIGINAL)
    seen, test = ordered[ordered["subset"] != "test"], ordered[ordered["subset"] == "test"]
    copied = seen[seen["subset"] != "validation"]
    table = pd.concat([seen, *(copied.assign(transform=copy) for copy in settings.copies)], ignore_index=True)
    deal = find_protocol(split["protocol"].iloc[0]).deal_samples
    if deal is not None and (table["subset"] == DEVELOPMENT).any():
        table["subset"] = deal(table)
    table = pd.concat([table, test], ignore_index=True)
    names = np.where(table["transform"] == ORIGINAL, table["case_id"], table["case_id"] + "_" + table["transform"])
    columns = ["sample_id", "case_id", "transform", "subset", *known[2:]]
    return table.assign(sample_id=names)[columns]
