"""Fit the expected Dice of the released network, and measure it on images that it was not fitted to.

    python results/expected_dice.py fit ROOT      # write the map into the package's weights
    python results/expected_dice.py score ROOT    # write results/released/expected_dice.csv
    python results/expected_dice.py run ROOT      # write results/expected_dice_run.csv for the finished run in ROOT
    python results/expected_dice.py table         # rebuild the table of docs/explanation/expected_dice.md

ROOT has the folders images and masks of ISIC 2018. The map is fitted to the 200 validation cases and measured on the
300 reserved cases, all in results/isic2018_cases.csv, with the annotation style of ISIC 2018.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import marked_tables
import numpy as np
import pandas as pd

from lesion_project.datasets import CaseArrays
from lesion_segmentation.core.tensor_files import read_tensors, write_tensors
from lesion_segmentation.evaluation.expected_dice import estimate_dice, expected_overlap, fit_knots
from lesion_segmentation.evaluation.scores import score_case
from lesion_segmentation.images.masks import binarize
from lesion_segmentation.images.read import open_image, to_mask
from lesion_segmentation.model import load_network
from lesion_segmentation.prediction import PredictionSettings, load_predictor
from lesion_segmentation.released import WEIGHTS

RESULTS = Path(__file__).parent
TABLE = RESULTS / "released" / "expected_dice.csv"
RUN_TABLE = RESULTS / "expected_dice_run.csv"
PAGE = RESULTS.parent / "docs" / "explanation" / "expected_dice.md"
KEPT = (1.0, 0.9, 0.8, 0.7, 0.5)
POOR = 0.8


def fit(root: Path) -> None:
    """Write the map into the metadata of the released weights."""
    cases = pd.DataFrame(predict(root, "validation"))
    tensors, _ = read_tensors(WEIGHTS)
    knots = fit_knots(cases["overlap"].tolist(), cases["dice"].tolist())
    metadata = replace(load_network(WEIGHTS).metadata, expected_dice=knots)
    write_tensors(WEIGHTS, tensors, metadata.to_dict())


def score(root: Path) -> None:
    """Write a row for each validation and each reserved case: case_id, subset, dice, expected_dice, low and high."""
    knots = load_network(WEIGHTS).metadata.expected_dice
    cases = pd.DataFrame([*predict(root, "validation"), *predict(root, "test")])
    estimates = [estimate_dice(knots, overlap) for overlap in cases.pop("overlap")]
    cases[["expected_dice", "low", "high"]] = estimates
    cases.round(6).to_csv(TABLE, index=False)


def score_run(root: Path) -> None:
    """Fit a map to the validation cases of a run, and write its estimates for the test cases, at the network's size."""
    probabilities, masks = (
        CaseArrays(filepath=str(root / file)).load()
        for file in ("07_model_output/probabilities.npz", "05_model_input/sample_masks.npz")
    )
    scored = pd.read_csv(root / "08_reporting" / "case_metrics.csv")
    rows = []
    for case in scored[scored["subset"] != "train"].itertuples():
        probability = probabilities[case.sample_id]
        mask = binarize(probability, case.threshold, case.keep_largest_component)
        inside = probability[mask].sum(dtype=np.float64)
        overlap = expected_overlap(probability.sum(dtype=np.float64), inside, int(mask.sum()))
        dice = score_case(mask, masks[case.sample_id].astype(bool))["dice"]
        rows.append({"case_id": case.case_id, "subset": case.subset, "overlap": overlap, "dice": dice})
    cases = pd.DataFrame(rows)
    fitted = cases[cases["subset"] == "validation"]
    knots = fit_knots(fitted["overlap"].tolist(), fitted["dice"].tolist())
    cases[["expected_dice", "low", "high"]] = [estimate_dice(knots, overlap) for overlap in cases.pop("overlap")]
    cases.round(6).to_csv(RUN_TABLE, index=False)


def predict(root: Path, subset: str) -> Iterator[dict[str, object]]:
    """Yield the expected overlap and the Dice of each case of a subset, at the size of its image."""
    predictor = load_predictor(settings=PredictionSettings(annotation_style="ISIC 2018", precision="32-true"))
    cases = pd.read_csv(RESULTS / "isic2018_cases.csv")
    for case_id in cases.loc[cases["subset"] == subset, "case_id"]:
        (mask_file,) = (root / "masks").glob(f"{case_id}*")
        probability, mask = predictor(root / "images" / f"{case_id}.jpg")
        inside = probability[mask].sum(dtype=np.float64)
        overlap = expected_overlap(probability.sum(dtype=np.float64), inside, int(mask.sum()))
        dice = score_case(mask, to_mask(open_image(mask_file)))["dice"]
        yield {"case_id": case_id, "subset": subset, "overlap": overlap, "dice": dice}


def describe() -> str:
    """Return the table of the page: how well the estimate predicts the Dice, on fitted and on other images."""
    from sklearn.metrics import roc_auc_score

    lines = [
        "| images | n | error | error of the mean | within the limits | AUC, Dice below 0.8 | "
        + " | ".join(f"Dice of {share:.0%}" for share in KEPT) + " |",
        "|---" * (6 + len(KEPT)) + "|",
    ]  # fmt: skip
    released, run = pd.read_csv(TABLE), pd.read_csv(RUN_TABLE)
    shown = ((released, "validation", "ISIC 2018, validation (fitted)"), (released, "test", "ISIC 2018, reserved"),
             (run, "test", "PH2, the paper's test cases, `kedro run`"))  # fmt: skip
    for table, subset, name in shown:
        mean = table.loc[table["subset"] == "validation", "dice"].mean()
        part = table[table["subset"] == subset].sort_values("expected_dice", ascending=False, kind="stable")
        errors = [100 * (part["dice"] - each).abs().mean() for each in (part["expected_dice"], mean)]
        within = part["dice"].between(part["low"], part["high"]).mean()
        auc = roc_auc_score(part["dice"] < POOR, -part["expected_dice"])
        kept = [100 * part["dice"].head(round(share * len(part))).mean() for share in KEPT]
        cells = [name, str(len(part)), *(f"{error:.1f}" for error in errors), f"{within:.0%}", f"{auc:.3f}"]
        lines.append(f"| {' | '.join([*cells, *(f'{dice:.1f}' for dice in kept)])} |")
    return "\n".join(lines)


TABLES = {"expected_dice": describe}

if __name__ == "__main__":
    if sys.argv[1] == "table":
        marked_tables.rewrite(PAGE, TABLES)
    else:
        {"fit": fit, "score": score, "run": score_run}[sys.argv[1]](Path(sys.argv[2]))
