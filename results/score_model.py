"""Score a model of the benchmark table on PH2, at 192 x 256 and at native size, without and with four flips.

    python results/score_model.py NAME ROOT [ROOT ...] [--keep-largest-component] [--threshold T]
        [--annotation-style STYLE] [--cases CASES] [--target FOLDER]

ROOT is the data root of a cross-validation (all or some of fold_0 to fold_4) or of one network that was trained on none
of the cases in CASES. CASES is a data root with PH2 at 192 x 256; its masks are the truth. With several ROOTs, the mean
of their probabilities is scored: an ensemble. The baselines `otsu` and `mean_mask` replace ROOT and need no network.
--annotation-style selects an output head. Writes NAME.csv (without test-time augmentation) and NAME_tta.csv (with four
flips) to results/cases, or to the folder --target.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Unpack

import numpy as np
import pandas as pd

from lesion_project.datasets import CaseArrays
from lesion_segmentation.evaluation import count_pixels, score_counts
from lesion_segmentation.images.masks import binarize
from lesion_segmentation.images.resize import restore_probability
from lesion_segmentation.model import load_network
from lesion_segmentation.prediction import Predictor
from lesion_segmentation.prediction.settings import MaskOptions
from lesion_segmentation.training.initialization import HASH_LENGTH

RESULTS = Path(__file__).parent
SUFFIXES = {"none": "", "four": "_tta"}
SIZE = (192, 256)
Arrays = Mapping[str, np.ndarray]
"""Arrays by case_id: images (H, W, 3), masks (H, W), or probabilities (H, W)."""


def read_arrays(root: Path, name: str) -> Arrays:
    return CaseArrays(filepath=str(root / "03_primary" / f"{name}.npz")).load()


def read_folds() -> dict[str, int]:
    table = pd.read_csv(RESULTS / "folds.csv")
    return dict(zip(table["case_id"], table["fold"], strict=True))


def otsu(image: np.ndarray) -> np.ndarray:
    """Return 1 where an image (H, W, 3) is darker than the threshold of its grey levels by Otsu (1979), else 0."""
    grey = np.round(image @ [0.299, 0.587, 0.114]).astype(np.uint8)
    share = np.bincount(grey.ravel(), minlength=256) / grey.size
    below, mean = share.cumsum(), (share * np.arange(256)).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean[-1] * below - mean) ** 2 / (below * (1 - below))
    return (grey <= np.nanargmax(between)).astype(np.float64)


def mean_mask(masks: Arrays, training: list[str]) -> np.ndarray:
    return np.mean([masks[case_id] for case_id in training], axis=0)


def predict_fold(root: Path, case_ids: list[str], data: Path, **options: Unpack[MaskOptions]) -> Arrays:
    """Predict cases, whose images lie in the data root `data`, with the network in `root`.

    Raises:
        SystemExit: The network was trained on one of the cases.
    """
    network = load_network(root / "06_models" / "network.safetensors")
    cases = pd.read_csv(data / "03_primary" / "cases.csv", keep_default_na=False).set_index("case_id")
    hashes = cases["image_sha256"].str[:HASH_LENGTH]
    if trained := [case_id for case_id in case_ids if hashes[case_id] in network.metadata.seen]:
        raise SystemExit(
            f"The network in {root} was trained on cases to be scored, such as {', '.join(trained[:5])}. "
            "Score it on held-out cases."
        )
    images = read_arrays(data, "images")
    found = Predictor(network, **options)(images[case_id] for case_id in case_ids)
    return {case_id: each.probability for case_id, each in zip(case_ids, found, strict=True)}


def predict_root(root: Path, data: Path | None, **options: Unpack[MaskOptions]) -> Arrays:
    """Predict all cases in `data` with one network, or those of each finished fold with its own network and images."""
    folds = read_folds()
    if (root / "06_models").is_dir():
        return predict_fold(root, list(folds), data or root, **options)
    probabilities: dict[str, np.ndarray] = {}
    for folder in sorted(root.glob("fold_[0-9]")):
        held_out = [case_id for case_id, fold in folds.items() if fold == int(folder.name[-1])]
        probabilities |= predict_fold(folder, held_out, folder, **options)
    return probabilities


def predict_baseline(name: str, data: Path) -> Arrays:
    folds, masks, images = read_folds(), read_arrays(data, "masks"), read_arrays(data, "images")
    if name == "otsu":
        return {case_id: otsu(images[case_id]) for case_id in folds}
    means = {fold: mean_mask(masks, [case_id for case_id, its in folds.items() if its != fold]) for fold in range(5)}
    return {case_id: means[fold] for case_id, fold in folds.items()}


def score(probabilities: Arrays, data: Path, threshold: float, keep_largest_component: bool) -> pd.DataFrame:
    """Return fold, case_id, tp, fp, fn, tn, dice, iou and accuracy at 192 x 256, and dice and iou at native size."""
    folds, masks, native_masks = read_folds(), read_arrays(data, "masks"), read_arrays(data, "native_masks")
    rows = []
    for case_id, probability in probabilities.items():
        counts, native_counts = (
            count_pixels(binarize(restore_probability(probability, *size), threshold, keep_largest_component), truth)
            for size, truth in (
                (SIZE, masks[case_id].astype(bool)),
                (native_masks[case_id].shape, native_masks[case_id].astype(bool)),
            )
        )
        scores, native = score_counts(*counts.values()), score_counts(*native_counts.values())
        columns = {name: float(scores[name]) for name in ("dice", "iou", "accuracy")}
        columns |= {f"{name}_native": float(native[name]) for name in ("dice", "iou")}
        rows.append({"fold": folds[case_id], "case_id": case_id, **counts, **columns})
    return pd.DataFrame(rows).sort_values("case_id")


def predict_model(roots: list[str], data: Path | None, style: str | None) -> Iterator[tuple[str, Arrays]]:
    """Yield the file ending and the probabilities of each kind of test-time augmentation."""
    if roots[0] in ("otsu", "mean_mask"):
        yield "", predict_baseline(roots[0], data or Path())
        return
    for flips, suffix in SUFFIXES.items():
        options: MaskOptions = {"test_time_augmentation": flips, "annotation_style": style}
        members = [predict_root(Path(root), data, **options) for root in roots]
        yield suffix, {case_id: np.mean([each[case_id] for each in members], axis=0) for case_id in members[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("roots", nargs="+")
    parser.add_argument("--keep-largest-component", action="store_true")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--annotation-style", help="the output head to use; default: that of the network")
    parser.add_argument(
        "--cases",
        type=Path,
        help="default: the first fold of the first ROOT; required for one network, a baseline or another image size",
    )
    parser.add_argument("--target", type=Path, default=RESULTS / "cases")
    options = parser.parse_args()
    data = options.cases or next(Path(options.roots[0]).glob("fold_[0-9]"))
    for suffix, probabilities in predict_model(options.roots, options.cases, options.annotation_style):
        table = score(probabilities, data, options.threshold, options.keep_largest_component)
        table.to_csv(options.target / f"{options.name}{suffix}.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
