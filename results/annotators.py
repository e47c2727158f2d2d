"""Train on each of three synthetic annotators and on their consensus, and score against the exact masks.

    .venv/bin/python results/annotators.py              # writes results/measurements/annotators.csv
    .venv/bin/python results/annotators.py agreement    # writes annotators_agreement.csv, without any training

The annotators are those of `lesion_segmentation.data.sources.synthetic.annotate`. A row is a training target. Its Dice
is the mean over the test cases and seeds, and its difference from the majority is paired by case and seed. The 95% CIs
are over cases, after averaging over seeds.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lesion_segmentation.data.annotators import form_consensus
from lesion_segmentation.data.cases import DataSettings, ImageSize, read_cases, resize_masks
from lesion_segmentation.data.samples import ORIGINAL, choose_targets
from lesion_segmentation.data.sources import synthetic
from lesion_segmentation.evaluation import score_case
from lesion_segmentation.evaluation.annotators import CONSENSUS, PREDICTION, score_annotators
from lesion_segmentation.evaluation.intervals import mean_rows
from lesion_segmentation.prediction import Predictor
from lesion_segmentation.training.loop import fit
from lesion_segmentation.training.samples import TrainingData
from lesion_segmentation.training.settings import TrainingSettings

ROOT = Path(__file__).parents[1]
TRAIN, TEST, SEEDS = 60, 40, (0, 1, 2)
SIZE = ImageSize(height=64, width=96)
SETTINGS = {"architecture": "segnet", "width": 0.125, "epochs": 20, "batch_size": 6, "learning_rate": 0.005,
            "ema_decay": 0.9, "threads": 1, "device": "cpu", "precision": "32-true"}  # fmt: skip
MAJORITY = "majority"


def main() -> None:
    """Train, score and write the table."""
    command = {"command": ".venv/bin/python results/annotators.py", "commit": read_commit()}
    ids = synthetic.case_ids(TRAIN + TEST)
    truth = {case_id: synthetic.synthesize_case(number) for number, case_id in enumerate(ids, start=1)}
    exact = resize_masks({case_id: case.mask for case_id, case in truth.items()}, SIZE)
    images, targets = make_targets(truth)
    samples = pd.DataFrame({"sample_id": ids, "subset": ["train"] * TRAIN + ["test"] * TEST})
    scores: dict[tuple[str, int], pd.Series] = {}
    dice = {}
    for seed in SEEDS:
        for target, masks in targets.items():
            # Equal masks give equal networks: each of them is trained once.
            key = hashlib.sha256(b"".join(masks[case_id].tobytes() for case_id in ids[:TRAIN])).hexdigest(), seed
            if key not in scores:
                scores[key] = train_and_score(TrainingData(images, masks, samples), exact, seed)
            dice[target, seed] = scores[key]
    dice = pd.DataFrame(dice)
    rows = [describe(dice, target) | command for target in targets]
    pd.DataFrame(rows).to_csv(ROOT / "results" / "measurements" / "annotators.csv", index=False, float_format="%.5f")


def measure_agreement() -> None:
    """Write how far the annotators agree on the test cases with each other, and with the exact masks."""
    ids = synthetic.case_ids(TRAIN + TEST)
    truth = {case_id: synthetic.synthesize_case(number) for number, case_id in enumerate(ids, start=1)}
    _, targets = make_targets(truth)
    exact = resize_masks({case_id: case.mask for case_id, case in truth.items()}, SIZE)
    test = pd.DataFrame({"subset": "test", "case_id": ids[TRAIN:], "sample_id": ids[TRAIN:], "dice": 1.0, "kappa": 1.0})
    outlined = {f"{case}/{name}": targets[name][case] for name in ("grown", "shrunk", "smoothed") for case in ids}
    found = score_annotators(exact, outlined, test).replace({"first": {PREDICTION: "exact"}})
    found = found[found["second"] != CONSENSUS]
    found.to_csv(ROOT / "results" / "measurements" / "annotators_agreement.csv", index=False, float_format="%.5f")


def make_targets(truth: dict[str, synthetic.SyntheticCase]) -> tuple[dict, dict]:
    """Return the images by case, and the masks by training target and case."""
    outlined = {case_id: synthetic.annotate(case.mask) for case_id, case in truth.items()}
    annotators = list(next(iter(outlined.values())))
    readers = {
        case_id: {name: (lambda mask=mask: Image.fromarray(mask)) for name, mask in masks.items()}
        for case_id, masks in outlined.items()
    }
    raw_images = {case_id: (lambda case=case: Image.fromarray(case.image)) for case_id, case in truth.items()}
    table = pd.DataFrame({"case_id": list(truth), "diagnosis": ""})
    read = read_cases(raw_images, readers, table, SIZE, DataSettings(name="synthetic"))
    targets = {name: {case: read.annotator_masks[f"{case}/{name}"] for case in truth} for name in annotators}
    for consensus in (MAJORITY, "staple"):
        native = {case: form_consensus([*masks.values()], consensus) for case, masks in outlined.items()}
        targets[consensus] = resize_masks(native, SIZE)
    rows = pd.DataFrame({"sample_id": list(truth), "subset": "train", "transform": ORIGINAL})
    soft = DataSettings(name="synthetic", consensus="soft")
    targets["soft"] = dict(choose_targets(targets[MAJORITY], read.annotator_masks, rows, soft))
    return read.images, targets


def train_and_score(data: TrainingData, exact: dict[str, np.ndarray], seed: int) -> pd.Series:
    """Return the Dice of each test case against its exact mask."""
    network, _ = fit(data, TrainingSettings(**SETTINGS, seed=seed))
    ids = data.select("test").sample_ids
    predictions = Predictor(network, "cpu", "32-true")(data.images[case_id] for case_id in ids)
    return pd.Series(
        {
            case_id: score_case(prediction.mask, exact[case_id].astype(bool))["dice"]
            for case_id, prediction in zip(ids, predictions, strict=True)
        }
    )


def describe(dice: pd.DataFrame, target: str) -> dict[str, object]:
    """Return the row of a target: mean Dice, its CI, the Dice of each seed, and the difference from the majority."""
    own, majority = dice[target].mean(axis=1), dice[MAJORITY].mean(axis=1)
    (score, difference) = mean_rows(pd.DataFrame({"dice": own, "difference": own - majority}))
    return {
        "target": target,
        "n": len(own),
        **{"dice": score["score"], "dice_low": score["low"], "dice_high": score["high"]},
        **{"difference": difference["score"], "low": difference["low"], "high": difference["high"]},
        **{f"dice_seed{seed}": dice[target][seed].mean() for seed in SEEDS},
    }


def read_commit() -> str:
    """Return the commit that the working tree is at."""
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    measure_agreement() if sys.argv[1:] == ["agreement"] else main()
