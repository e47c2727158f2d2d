"""The released network and the figures of its card.

    python results/release.py network ROOT    # from what `kedro run --env released` left in ROOT to the package's file
    python results/release.py figures         # write the card's table anew, from results/released

The files in results/released are of `lesion-segmentation predict PICTURES OUT --truth MASKS`, the scores of OUT.
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
from lesion_segmentation.evaluation.intervals import mean_interval
from lesion_segmentation.model import load_network
from lesion_segmentation.released import WEIGHTS
from lesion_segmentation.training.settings import TrainingSettings

RESULTS = Path(__file__).parent
CARD = WEIGHTS.with_name("README.md")
LICENCE = "CC BY-NC 4.0; trained on PH2 and ISIC 2018."


class Row(NamedTuple):
    """A row of the card: its file, what it is of, whether it was seen in training, whose outlining was asked for."""

    file: str
    words: str
    seen: str
    outline: str


ROWS = (
    Row("isic_isic", "ISIC 2018, the 300 that are left out", "no", "isic"),
    Row("isic_ph2", "the same", "no", "ph2"),
    Row("ph2", "PH2, all", "**yes**", "ph2"),
)


def release(root: Path) -> None:
    """The trained network in half precision, with its temperature and license, as the package's file."""
    given = root / "05_model_input"
    arrays = [CaseArrays(filepath=str(given / f"sample_{name}.npz")).load() for name in ("images", "masks")]
    samples = pd.read_csv(given / "guarded_samples.csv")
    trained = load_network(root / "06_models" / "network.safetensors")
    network = calibrate_network(trained, *arrays, samples, TrainingSettings())
    metadata = replace(network.metadata, license=LICENCE, mlflow_run_id="")
    state = network.own_state()
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    write_tensors(WEIGHTS, halves, metadata.to_dict())


def figures() -> str:
    """Means over pictures with their 95% intervals, PH2 by fold, too."""
    folds = pd.read_csv(RESULTS / "folds.csv").set_index("case_id")["fold"]
    lines = ["| pictures | seen in training | n | outline | Dice | IoU | accuracy |", "|---|---|---|---|---|---|---|"]
    for row in ROWS:
        cases = pd.read_csv(RESULTS / "released" / f"{row.file}.csv")
        parts = {row.words: cases}
        if row.file == "ph2":
            of_case = cases["picture"].map(lambda name: folds[Path(name).stem])
            parts |= {f"PH2, fold {fold}": part for fold, part in cases.groupby(of_case)}
        for words, part in parts.items():
            cells = [_with_interval(part[score]) for score in ("dice", "iou", "accuracy")]
            lines.append(f"| {words} | {row.seen} | {len(part)} | `{row.outline}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _with_interval(scores: pd.Series) -> str:
    low, high = mean_interval(scores.to_numpy())
    return f"{100 * scores.mean():.2f} ({100 * low:.2f} to {100 * high:.2f})"


TABLES: dict[str, Callable[[], str]] = {"figures": figures}


def main(command: str, *places: str) -> None:
    if command == "network":
        release(Path(places[0]))
    CARD.write_text(marked_tables.rebuild(CARD.read_text(), TABLES))


if __name__ == "__main__":
    main(*sys.argv[1:])
