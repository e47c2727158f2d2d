"""Compare numbers from which the Dice of a mask can be estimated: `python results/expected_dice_candidates.py ROOT`.

ROOT has the folders images and masks of ISIC 2018. On the 200 validation cases, a map from each number to the Dice is
fitted in a five-fold cross-validation, repeated ten times. Probabilities have the input size of the network.
"""

import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import RepeatedKFold

from lesion_segmentation.evaluation.expected_dice import expected_overlap
from lesion_segmentation.images.masks import binarize
from lesion_segmentation.images.read import open_image, to_mask, to_rgb
from lesion_segmentation.images.resize import resize_image
from lesion_segmentation.prediction import PredictionSettings, Predictor, load_predictor

RESULTS = Path(__file__).parent


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Dice of two boolean masks, of which one may be empty."""
    return float(2 * (one & other).sum() / max(1, one.sum() + other.sum()))


def measure(predictor: Predictor, image: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return the Dice of an image's mask and the candidates."""
    metadata = predictor.metadata
    assert metadata.input_size is not None
    height, width = metadata.input_size
    small = resize_image(image, height, width, metadata.resizing, metadata.framing)
    views = (predictor.flip_logits([small])[:, 0] / metadata.temperature).sigmoid().numpy()
    mean = views.mean(axis=0)
    mask, *masks = (binarize(each, predictor.threshold, True) for each in (mean, *views))
    return {
        "dice": dice(predictor(image).mask, truth),
        "mean confidence": float(np.where(mask, mean, 1 - mean).mean()),
        "expected overlap": expected_overlap(float(mean.sum()), float(mean[mask].sum()), int(mask.sum())),
        "Dice between flips": float(np.mean([dice(*pair) for pair in combinations(masks, 2)])),
    }


def main(root: Path) -> None:
    """Print the mean error of each candidate in percentage points."""
    cases = pd.read_csv(RESULTS / "isic2018_cases.csv").query("subset == 'validation'")["case_id"]
    predictor = load_predictor(settings=PredictionSettings(annotation_style="ISIC 2018"))
    rows = []
    for case_id in cases:
        image = to_rgb(open_image(root / "images" / f"{case_id}.jpg"))
        (mask_file,) = (root / "masks").glob(f"{case_id}*")
        rows.append(measure(predictor, image, to_mask(open_image(mask_file))))
    table = pd.DataFrame(rows)
    truth = table.pop("dice").to_numpy()
    table["nothing: the mean"] = 0.0
    for name in table:
        x, errors = table[name].to_numpy(), []
        for fitted, others in RepeatedKFold(n_splits=5, n_repeats=10, random_state=0).split(x):
            model = IsotonicRegression(out_of_bounds="clip").fit(x[fitted], truth[fitted])
            errors.append(np.abs(model.predict(x[others]) - truth[others]).mean())
        print(f"{name:20} {100 * np.mean(errors):.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
