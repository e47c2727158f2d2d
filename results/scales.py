"""Measure what an average of probabilities over several scales gains: `python results/scales.py ROOT ISIC PH2`.

ROOT is the data root of a cross-validation on PH2 of which folds 0 and 1 are finished. ISIC and PH2 have the folders
images and masks. The 200 validation cases of ISIC 2018 are predicted by the released network, and the test cases of
folds 0 and 1 by the networks in ROOT. Writes results/measurements/scales.csv.
"""

import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lesion_segmentation.data.sources.folder import find_images
from lesion_segmentation.evaluation.intervals import mean_interval
from lesion_segmentation.evaluation.scores import score_case
from lesion_segmentation.images.masks import binarize
from lesion_segmentation.images.read import open_image, to_mask, to_rgb
from lesion_segmentation.images.resize import resize_image, restore_probability
from lesion_segmentation.model import load_network
from lesion_segmentation.prediction import Predictor
from lesion_segmentation.released import WEIGHTS

RESULTS = Path(__file__).parent
HEIGHTS = (160, 192, 224, 256)
"""Heights to which images are resized. Widths keep the proportions, in multiples of 32, so nothing is padded."""
AVERAGES = ((192,), (224,), (160, 192, 224), (192, 224, 256))


def main(root: Path, isic: Path, ph2: Path) -> None:
    subsets, folds = pd.read_csv(RESULTS / "isic2018_cases.csv"), pd.read_csv(RESULTS / "folds.csv")
    validation = list(subsets.loc[subsets["subset"] == "validation", "case_id"])
    released = Predictor(load_network(WEIGHTS), annotation_style="ISIC 2018")
    tables = {"ISIC 2018, 200 validation cases": score_cases(released, isic, validation)}
    parts = []
    for fold in (0, 1):
        network = load_network(root / f"fold_{fold}" / "06_models" / "network.safetensors")
        parts.append(score_cases(Predictor(network), ph2, list(folds.loc[folds["fold"] == fold, "case_id"])))
    tables["PH2, folds 0 and 1"] = pd.concat(parts)
    rows = []
    for data, table in tables.items():
        for name in table.columns[1:]:
            difference = (table[name] - table["one"]).to_numpy()
            low, high = mean_interval(difference)
            row = {
                "data": data,
                "heights": name,
                "n": len(table),
                "dice": table[name].mean(),
                "reference": table["one"].mean(),
            }
            rows.append(row | {"difference": difference.mean(), "low": low, "high": high})
    pd.DataFrame(rows).to_csv(RESULTS / "measurements" / "scales.csv", index=False, float_format="%.5f")


def score_cases(predictor: Predictor, root: Path, case_ids: list[str]) -> pd.DataFrame:
    """Return the Dice of each case, one column per average; `one` is the predictor's own prediction."""
    images, masks = find_images(root / "images"), find_images(root / "masks", masks=True)
    rows = []
    for case_id in case_ids:
        image, truth = to_rgb(open_image(images[case_id])), to_mask(open_image(masks[case_id]))
        views = {key: _predict(predictor, image, *key) for key in product(HEIGHTS, (False, True))}

        def dice(maps: list[np.ndarray], truth: np.ndarray = truth) -> float:
            mask = binarize(np.mean(maps, axis=0), predictor.threshold, predictor.keep_largest_component)
            return score_case(mask, truth)["dice"]

        row = {"one": score_case(predictor(image).mask, truth)["dice"]}
        for heights, flips in product(AVERAGES, ((False,), (False, True))):
            name = ", ".join(map(str, heights)) + (" and transposed" if len(flips) > 1 else "")
            row[name] = dice([views[key] for key in product(heights, flips)])
        rows.append(row)
    return pd.DataFrame(rows)


def _predict(predictor: Predictor, image: np.ndarray, height: int, transposed: bool) -> np.ndarray:
    """Return the probability (H, W) of an image at another height, averaged over four flips."""
    width = round(height * image.shape[1] / image.shape[0] / 32) * 32
    small = resize_image(image, height, width, predictor.metadata.resizing)
    turn: Callable[[np.ndarray], np.ndarray] = np.transpose if transposed else np.asarray
    view = small.transpose(1, 0, 2) if transposed else small
    logits = predictor.flip_logits([np.ascontiguousarray(view)])[:, 0] / predictor.metadata.temperature
    return restore_probability(turn(torch.sigmoid(logits).mean(dim=0).numpy()), *image.shape[:2])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
