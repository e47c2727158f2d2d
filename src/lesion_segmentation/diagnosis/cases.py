"""Features of all cases of a cross-validation, under the experts' masks, the predicted masks and two controls."""

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from skimage.draw import disk
from torch import Tensor, nn
from torch.nn import functional as F

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.diagnosis.features import measure_lesion
from lesion_segmentation.diagnosis.settings import ENCODER
from lesion_segmentation.evaluation.folds import pool_folds
from lesion_segmentation.model import Network
from lesion_segmentation.model.metadata import Scaling

Folds = Mapping[str, Callable[[], Any]]
SEED = 0
"""Seed of the places of the circles."""


def measure_cases(
    fold_case_metrics: Folds,
    fold_cases: Folds,
    fold_images: Folds,
    fold_masks: Folds,
    fold_predicted_masks: Folds,
    fold_networks: Folds,
) -> pd.DataFrame:
    """Measure each test case of each fold under four masks, with the network that has not seen the case.

    All arguments map "fold_0/", "fold_1/", ... to a function that loads the dataset of that fold.

    Returns:
        One row per case and mask: fold, case_id, diagnosis, mask (the keys of MASKS), the FEATURES, and encoder_0,
        encoder_1, ... of `pool_encoder` if the network has an encoder.

    Raises:
        InputError: A case has no diagnosis, or a file of a fold is missing.
    """
    rows = []
    tested = pool_folds(fold_case_metrics)
    for fold, part in tested.groupby("fold"):
        images, masks, predicted_masks, network, cases = (
            _load(each, fold) for each in (fold_images, fold_masks, fold_predicted_masks, fold_networks, fold_cases)
        )
        diagnoses = cases.set_index("case_id")["diagnosis"]
        if unknown := [case_id for case_id in part["case_id"] if not diagnoses[case_id]]:
            raise InputError(
                f"{len(unknown)} cases of fold {fold} have no diagnosis, such as {unknown[0]}. Fill in the column "
                "diagnosis of the table of cases."
            )
        for case in part.itertuples():
            image = images[case.case_id]
            chosen = choose_masks(case.case_id, masks[case.case_id], predicted_masks[case.sample_id])
            pooled = pool_encoder(network, image, chosen)
            rows += [
                {"fold": fold, "case_id": case.case_id, "diagnosis": diagnoses[case.case_id], "mask": name,
                 **measure_lesion(image, mask), **pooled[name]}
                for name, mask in chosen.items()
            ]  # fmt: skip
    return pd.DataFrame(rows)


def _load(folds: Folds, fold: Any) -> Any:
    found = [load for name, load in folds.items() if name.strip("/") == f"fold_{fold}"]
    if not found:
        raise InputError(f"fold_{fold} lacks files. Remove its folder and run kedro cross-validate again.")
    return found[0]()


def choose_masks(case_id: str, expert: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Return the boolean mask (H, W) of each key of MASKS.

    The circle has the area of the expert's mask, unless it reaches beyond the image, and lies at a random place.
    """
    generator = np.random.default_rng([SEED, zlib.crc32(case_id.encode())])
    radius = np.sqrt(expert.astype(bool).sum() / np.pi)
    center = [generator.uniform(min(radius, side / 2), max(side - radius, side / 2)) for side in expert.shape]
    circle = np.zeros(expert.shape, dtype=bool)
    circle[disk(center, radius, shape=expert.shape)] = True
    masks = {"expert": expert, "predicted": predicted, "none": np.ones_like(expert), "circle": circle}
    return {name: mask.astype(bool) for name, mask in masks.items()}


@torch.inference_mode()
def pool_encoder(network: Network, image: np.ndarray, masks: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Average the deepest map of the network's encoder over each boolean mask (H, W) of an image, uint8 (H, W, 3).

    A cell of the map counts with the share of its pixels in the mask. An empty mask counts as the whole image, and a
    network without `encoder` has no such features.
    """
    if not hasattr(network, "encoder"):
        return {name: {} for name in masks}
    encoder = network.encoder[-1] if isinstance(network.encoder, nn.ModuleList) else network.encoder
    outputs: list[Any] = []
    handle = encoder.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    try:
        network.eval()(Scaling(network.metadata)(torch.tensor(image).permute(2, 0, 1)[None].float()))
    finally:
        handle.remove()
    features: Tensor = outputs[0][-1] if isinstance(outputs[0], list) else outputs[0]
    pooled = {}
    for name, mask in masks.items():
        pixels = torch.from_numpy(mask if mask.any() else ~mask)[None].float()
        weights = F.adaptive_avg_pool2d(pixels, (features.shape[2], features.shape[3]))
        means = (features[0] * weights).sum(dim=(1, 2)) / weights.sum()
        pooled[name] = {f"{ENCODER}{channel}": value for channel, value in enumerate(means.tolist())}
    return pooled
