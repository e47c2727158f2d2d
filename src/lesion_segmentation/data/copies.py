"""The paper's augmentation before training: a rotated and a flipped copy of each training case."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import BaseModel, ConfigDict

from lesion_segmentation.data.splits import DEVELOPMENT, LEAKY_PROTOCOL
from lesion_segmentation.errors import InputError

Transform = Literal["rotated", "flipped"]
MAX_ROTATION = 40
"""Degrees; the paper's code draws a whole number of degrees from [-40, 40)."""


class AugmentationSettings(BaseModel):
    """The parameters `augmentation`.

    Attributes:
        copies: Which copies of each training case are made, in this order; none where training augments on the fly.
        seed: Of the angles.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    copies: tuple[Transform, ...] = ()
    seed: int = 0


class Pair(NamedTuple):
    """An image, uint8 (H, W, 3), and its mask, uint8 (H, W), 0 or 1."""

    image: np.ndarray
    mask: np.ndarray


def copy_samples(
    images: dict[str, np.ndarray], masks: dict[str, np.ndarray], split: pd.DataFrame, settings: AugmentationSettings
) -> tuple[pd.DataFrame, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Make the samples that training sees: originals of training and validation, copies of training cases only.

    Under `paper_leaky` the split knows development cases only: all of them are copied, and then samples, not cases,
    are dealt to training and validation, as in the paper's code.

    Args:
        images: case_id to uint8 (H, W, 3).
        masks: case_id to uint8 (H, W), 0 or 1.
        split: case_id, subset.
        settings: Which copies.

    Returns:
        The sample table (sample_id, case_id, transform, subset; first all originals, then all copies of one kind
        after the other), sample_id to image, sample_id to mask. Test cases are in none of them.

    Raises:
        InputError: `paper_leaky` without both kinds of copies.
    """
    seen = split.loc[split["subset"] != "test", ["case_id", "subset"]].sort_values("case_id")
    copied = seen[seen["subset"] != "validation"]
    samples = [seen.assign(transform="original")] + [copied.assign(transform=copy) for copy in settings.copies]
    table = pd.concat(samples, ignore_index=True)
    if (table["subset"] == DEVELOPMENT).any():
        _require_all_copies(settings)
        table["subset"] = _deal_samples(len(table))
    table.insert(
        0,
        "sample_id",
        np.where(table["transform"] == "original", table["case_id"], table["case_id"] + "_" + table["transform"]),
    )
    generator = np.random.default_rng(settings.seed)
    pairs = {
        row.sample_id: _TRANSFORMS[row.transform](Pair(images[row.case_id], masks[row.case_id]), generator)
        for row in table.itertuples()
    }
    sample_images = {sample_id: pair.image for sample_id, pair in pairs.items()}
    sample_masks = {sample_id: pair.mask for sample_id, pair in pairs.items()}
    return table[["sample_id", "case_id", "transform", "subset"]], sample_images, sample_masks


def list_scored(samples: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """What is scored: each case once; under `paper_leaky`, as in the paper, each copy of a development case too.

    Returns:
        sample_id, case_id, subset, protocol.
    """
    leaky = split["protocol"].iloc[0] == LEAKY_PROTOCOL
    seen = samples if leaky else samples[samples["transform"] == "original"]
    test = split[split["subset"] == "test"].assign(sample_id=lambda table: table["case_id"])
    columns = ["sample_id", "case_id", "subset"]
    return pd.concat([seen[columns], test[columns]], ignore_index=True).assign(protocol=split["protocol"].iloc[0])


def _require_all_copies(settings: AugmentationSettings) -> None:
    if settings.copies != ("rotated", "flipped"):
        raise InputError(
            f"split.protocol is {LEAKY_PROTOCOL}, but augmentation.copies is {list(settings.copies)}, expected "
            "[rotated, flipped]: the published split deals these copies. Use --env paper, which has them."
        )


def _deal_samples(count: int) -> np.ndarray:
    """As the paper's code: a fifth of the samples for validation, whatever case they show."""
    from sklearn.model_selection import train_test_split

    _, validation = train_test_split(np.arange(count), test_size=0.20, random_state=101)
    return np.where(np.isin(np.arange(count), validation), "validation", "train")


def rotate(pair: Pair, degrees: float) -> Pair:
    """Turn counter-clockwise about the centre, bilinear, black outside.

    The mask is interpolated too and cut to whole numbers, as in the paper's code: only pixels that are lesion
    through and through stay lesion, so it shrinks by part of a pixel.
    """
    image = Image.fromarray(pair.image).rotate(degrees, Image.Resampling.BILINEAR)
    mask = Image.fromarray(pair.mask.astype(np.float32)).rotate(degrees, Image.Resampling.BILINEAR)
    return Pair(np.asarray(image), (np.asarray(mask) > 1 - 1e-4).astype(np.uint8))


def flip(pair: Pair) -> Pair:
    """Mirror left and right."""
    return Pair(np.ascontiguousarray(pair.image[:, ::-1]), np.ascontiguousarray(pair.mask[:, ::-1]))


def _rotate_at_random(pair: Pair, generator: np.random.Generator) -> Pair:
    return rotate(pair, int(generator.integers(-MAX_ROTATION, MAX_ROTATION)))


_TRANSFORMS: dict[str, Callable[[Pair, np.random.Generator], Pair]] = {
    "original": lambda pair, generator: pair,
    "rotated": _rotate_at_random,
    "flipped": lambda pair, generator: flip(pair),
}
