"""A row of the ladder: the cases of the folds, scored at 192 x 256 and at their own size, plain and over four views.

    python results/score_model.py ROW ROOT [ROOT ...] [--single-lesion] [--threshold T] [--cases CASES]

ROOT is the data root of a cross-validation (fold_0 to fold_4, or some of them), or of one network that saw no case of
CASES, a data root with PH2's pictures. Of several ROOTs the mean of their probabilities is scored: an ensemble. `otsu`
and `mean_mask` in the place of ROOT need no network. Writes ROW.csv (plain) and ROW_tta.csv to docs/results.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from lesion_project.datasets import CaseArrays
from lesion_segmentation.evaluation.scores import score_counts
from lesion_segmentation.images.masks import binarize
from lesion_segmentation.images.resize import restore_probability
from lesion_segmentation.model import load_network
from lesion_segmentation.prediction import Predictor
from lesion_segmentation.training.initialization import HASH_LENGTH

RESULTS = Path(__file__).parent
SUFFIXES = {"none": "", "four": "_tta"}
SIZE = (192, 256)
Maps = dict[str, np.ndarray]


def read_arrays(root: Path, name: str) -> Mapping[str, np.ndarray]:
    return CaseArrays(filepath=str(root / "03_primary" / f"{name}.npz")).load()


def read_folds() -> dict[str, int]:
    table = pd.read_csv(RESULTS / "folds.csv")
    return dict(zip(table["case_id"], table["fold"], strict=True))


def otsu(image: np.ndarray) -> np.ndarray:
    """1 where a picture (H, W, 3) is darker than Otsu's threshold of its grey levels (1979), else 0."""
    grey = np.round(image @ [0.299, 0.587, 0.114]).astype(np.uint8)
    share = np.bincount(grey.ravel(), minlength=256) / grey.size
    below, mean = share.cumsum(), (share * np.arange(256)).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean[-1] * below - mean) ** 2 / (below * (1 - below))
    return (grey <= np.nanargmax(between)).astype(np.float64)


def mean_mask(masks: Mapping[str, np.ndarray], training: list[str]) -> np.ndarray:
    return np.mean([masks[case_id] for case_id in training], axis=0)


def predict_fold(root: Path, case_ids: list[str], pictures: Path, view: str) -> Maps:
    """The maps of one network.

    Raises:
        SystemExit: It saw one of the cases in training.
    """
    network = load_network(root / "06_models" / "network.safetensors")
    cases = pd.read_csv(pictures / "03_primary" / "cases.csv", keep_default_na=False).set_index("case_id")
    hashes = cases["image_sha256"].str[:HASH_LENGTH]
    seen = [case_id for case_id in case_ids if hashes[case_id] in network.metadata.seen]
    if seen:
        raise SystemExit(f"{root}: its network was trained on {', '.join(seen[:5])}, which were to be scored")
    images = read_arrays(pictures, "images")
    found = Predictor(network, test_time_augmentation=view)(images[case_id] for case_id in case_ids)
    return {case_id: each.probability for case_id, each in zip(case_ids, found, strict=True)}


def predict_root(root: Path, cases: Path | None, view: str) -> Maps:
    """The maps of all folds that are there, or of all cases by one network."""
    folds = read_folds()
    if (root / "06_models").is_dir():
        return predict_fold(root, list(folds), cases or root, view)
    maps: Maps = {}
    for folder in sorted(root.glob("fold_[0-9]")):
        held_out = [case_id for case_id, fold in folds.items() if fold == int(folder.name[-1])]
        maps |= predict_fold(folder, held_out, cases or folder, view)
    return maps


def predict_baseline(name: str, cases: Path) -> Maps:
    folds, masks, images = read_folds(), read_arrays(cases, "masks"), read_arrays(cases, "images")
    if name == "otsu":
        return {case_id: otsu(images[case_id]) for case_id in folds}
    means = {fold: mean_mask(masks, [case_id for case_id, its in folds.items() if its != fold]) for fold in range(5)}
    return {case_id: means[fold] for case_id, fold in folds.items()}


def score(maps: Maps, cases: Path, threshold: float, keep_largest_component: bool) -> pd.DataFrame:
    """fold, case_id, counts, dice, iou, accuracy at 192 x 256, and the first two at the picture's own size."""
    folds, masks, native = read_folds(), read_arrays(cases, "masks"), read_arrays(cases, "native_masks")
    rows = []
    for case_id, probability in maps.items():
        small = _count(restore_probability(probability, *SIZE), masks[case_id], threshold, keep_largest_component)
        large = _count(
            restore_probability(probability, *native[case_id].shape), native[case_id], threshold, keep_largest_component
        )
        scores, own = score_counts(*small.values()), score_counts(*large.values())
        at_both = {name: float(scores[name]) for name in ("dice", "iou", "accuracy")}
        at_both |= {f"{name}_native": float(own[name]) for name in ("dice", "iou")}
        rows.append({"fold": folds[case_id], "case_id": case_id, **small, **at_both})
    return pd.DataFrame(rows).sort_values("case_id")


def _count(probability: np.ndarray, mask: np.ndarray, threshold: float, keep_largest_component: bool) -> dict[str, int]:
    found, truth = binarize(probability, threshold, keep_largest_component), mask.astype(bool)
    return {
        "tp": int((found & truth).sum()),
        "fp": int((found & ~truth).sum()),
        "fn": int((~found & truth).sum()),
        "tn": int((~found & ~truth).sum()),
    }


def predict_row(roots: list[str], cases: Path | None) -> Iterator[tuple[str, Maps]]:
    """The maps of each view, by the ending of its file."""
    if roots[0] in ("otsu", "mean_mask"):
        yield "", predict_baseline(roots[0], cases or Path())
        return
    for view, suffix in SUFFIXES.items():
        each = [predict_root(Path(root), cases, view) for root in roots]
        yield suffix, {case_id: np.mean([maps[case_id] for maps in each], axis=0) for case_id in each[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row")
    parser.add_argument("roots", nargs="+")
    parser.add_argument("--single-lesion", action="store_true")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--target", type=Path, default=RESULTS)
    given = parser.parse_args()
    cases = given.cases or next(Path(given.roots[0]).glob("fold_[0-9]"))
    for suffix, maps in predict_row(given.roots, given.cases):
        table = score(maps, cases, given.threshold, given.keep_largest_component)
        table.to_csv(given.target / f"{given.row}{suffix}.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
