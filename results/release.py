"""Build the released network and the tables of its model card.

    python results/release.py network ROOT    # write the package's weights from the finished training in ROOT
    python results/release.py diagnoses TABLE # write results/released/diagnoses.csv, for TABLE as PH2_dataset.txt
    python results/release.py figures         # rewrite the card's tables from results/released

ROOT is the data root of the run that conf/isic_and_ph2/parameters.yml describes. The files in results/released are the
`scores.csv` of `lesion-segmentation predict IMAGES OUT --truth MASKS`.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import marked_tables
import pandas as pd

from lesion_project.datasets import CaseArrays
from lesion_project.pipelines.training.nodes import calibrate_network
from lesion_segmentation.core.tensor_files import write_tensors
from lesion_segmentation.data.annotations import parse_annotations
from lesion_segmentation.data.sources.isic2018 import TOOLS, read_packaged_table
from lesion_segmentation.evaluation.intervals import mean_interval
from lesion_segmentation.evaluation.scores import ISIC_LIMIT
from lesion_segmentation.model import load_network
from lesion_segmentation.released import MODEL_CARD, WEIGHTS
from lesion_segmentation.training.settings import TrainingSettings

RESULTS = Path(__file__).parent
RELEASED = RESULTS / "released"
DIAGNOSES = RELEASED / "diagnoses.csv"
COLUMNS = ("dice", "iou", "thresholded_jaccard", "accuracy")
LICENSE = "CC BY-NC 4.0; trained on PH2 and ISIC 2018."


class Evaluation(NamedTuple):
    """A row of the card: its file, the images scored, whether training used them, and the annotation style."""

    file: str
    description: str
    in_training: str
    annotation_style: str


EVALUATIONS = (
    Evaluation("isic_isic", "ISIC 2018, the 300 cases reserved for release tests", "no", "isic"),
    Evaluation("isic_ph2", "the same 300", "no", "ph2"),
    Evaluation("ph2", "PH2, all", "**yes**", "ph2"),
)


def release(root: Path) -> None:
    """Write the trained network to the package in half precision, with its temperature and license."""
    inputs = root / "05_model_input"
    arrays = [CaseArrays(filepath=str(inputs / f"sample_{name}.npz")).load() for name in ("images", "masks")]
    samples = pd.read_csv(inputs / "guarded_samples.csv")
    trained = load_network(root / "06_models" / "network.safetensors")
    network = calibrate_network(trained, *arrays, samples, TrainingSettings())
    metadata = replace(network.metadata, license=LICENSE, mlflow_run_id="")
    state = network.own_state()
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    write_tensors(WEIGHTS, halves, metadata.to_dict())


def figures() -> str:
    """Return means over images with their 95% CIs, for PH2 by fold as well."""
    folds = pd.read_csv(RESULTS / "folds.csv").set_index("case_id")["fold"]
    lines = [
        "| images | seen in training | n | annotation style | Dice | IoU | thresholded Jaccard | accuracy |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for evaluation in EVALUATIONS:
        scores = pd.read_csv(RELEASED / f"{evaluation.file}.csv")
        scores["thresholded_jaccard"] = scores["iou"].where(scores["iou"] >= ISIC_LIMIT, 0)
        groups = {evaluation.description: scores}
        if evaluation.file == "ph2":
            fold = scores["image"].map(lambda name: folds[Path(name).stem])
            groups |= {f"PH2, fold {number}": group for number, group in scores.groupby(fold)}
        for description, group in groups.items():
            cells = [marked_tables.format_mean(group[score]) for score in COLUMNS]
            lines.append(
                f"| {description} | {evaluation.in_training} | {len(group)} | `{evaluation.annotation_style}` | "
                f"{' | '.join(cells)} |"
            )
    return "\n".join(lines)


def scores_by_tool() -> str:
    """Return the mean Dice of the reserved cases of ISIC 2018 by annotation tool, for each annotation style."""
    tools = read_packaged_table(TOOLS).set_index("case_id")["annotation_style"]
    names = {"T1": "T1, manual points", "T2": "T2, not recorded", "T3": "T3, automatic filling", "": "unknown"}
    styles = {}
    for style in ("isic", "ph2"):
        scores = pd.read_csv(RELEASED / f"isic_{style}.csv")
        tool = scores["image"].map(lambda name: Path(name).stem).map(tools).fillna("")
        styles[style] = dict(list(scores["dice"].groupby(tool)))
    lines = ["| annotation tool | n | Dice, style `isic` | Dice, style `ph2` |", "|---|---|---|---|"]
    for tool, name in names.items():
        cells = [marked_tables.format_mean(scores[tool]) for scores in styles.values()]
        lines.append(f"| {name} | {len(styles['isic'][tool])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def score_diagnoses(annotations: Path) -> None:
    """Write the mean Dice by diagnosis, at the size of the images, of the released network and of `joint`.

    The released network has seen PH2, `joint` has not. The file has no diagnoses of single cases, because PH2's terms
    do not allow to publish them.
    """
    diagnoses = parse_annotations(annotations.read_text()).set_index("case_id")["diagnosis"]
    released, joint = pd.read_csv(RELEASED / "ph2.csv"), pd.read_csv(RESULTS / "cases" / "joint_tta.csv")
    rows = []
    for network, scores in (
        ("released", released.set_axis(released["image"].map(lambda name: Path(name).stem))),
        ("joint", joint.set_index("case_id")[["dice_native"]].rename(columns={"dice_native": "dice"})),
    ):
        for diagnosis, dice in scores["dice"].groupby(diagnoses):
            low, high = mean_interval(dice.to_numpy())
            row = {"network": network, "diagnosis": diagnosis, "n": len(dice), "dice": dice.mean()}
            rows.append(row | {"dice_low": low, "dice_high": high})
    pd.DataFrame(rows).round(6).to_csv(DIAGNOSES, index=False)


def scores_by_diagnosis() -> str:
    """Return the table of `score_diagnoses`."""
    rows = pd.read_csv(DIAGNOSES).set_index(["network", "diagnosis"])
    lines = ["| diagnosis | n | Dice, this network (seen) | Dice, `joint` (not seen) |", "|---|---|---|---|"]
    for diagnosis in ("common nevus", "atypical nevus", "melanoma"):
        cells = [marked_tables.format_interval(rows.loc[name, diagnosis], "dice") for name in ("released", "joint")]
        lines.append(f"| {diagnosis} | {rows.loc['joint', diagnosis]['n']:.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {
    "figures": figures,
    "tools": scores_by_tool,
    "diagnoses": scores_by_diagnosis,
}


def main(command: str, *arguments: str) -> None:
    """Run the command `network ROOT`, `diagnoses TABLE` or `figures`. All of them rewrite the card's tables."""
    if command == "network":
        release(Path(arguments[0]))
    if command == "diagnoses":
        score_diagnoses(Path(arguments[0]))
    marked_tables.rewrite(MODEL_CARD, TABLES)


if __name__ == "__main__":
    main(*sys.argv[1:])
