"""Collect runs of the paper's network in results/ledger, and build the tables of docs/results/reproduction.md.

    python results/ledger.py NAME DATA_ROOT COMMAND COMMIT DEVICE    # collect the finished run in DATA_ROOT
    python results/ledger.py                                         # rewrite the tables of the page

A run is stored as NAME.csv (one row per subset and average), cases/NAME.csv (the scores of each validation and test
sample) and curves/NAME.csv (the training history).
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import marked_tables
import pandas as pd

from lesion_segmentation.core.tensor_files import read_tensors
from lesion_segmentation.paper.tables import PAPER_TABLE_II

RESULTS = Path(__file__).parent
LEDGER = RESULTS / "ledger"
DOCUMENT = RESULTS.parent / "docs" / "results" / "reproduction.md"
SCORES = ("accuracy", "precision", "recall", "iou", "dice")
CASE_COLUMNS = ["subset", "case_id", "sample_id", *SCORES, "loss", "tp", "fp", "fn", "tn"]
FAITHFUL = "leaky_w100_e40_nearest_s0"
"""The run that follows the published protocol, at the paper's width."""

WIDE_RUNS = {
    FAITHFUL: "the published split",
    "paper_w100_e40_nearest_s0": "no leak",
    "paper_w100_e100_nearest_s0": "no leak, 100 epochs",
    "paper_w100_e40_indices_s0": "no leak, unpooling by indices",
}
"""Runs at the paper's width."""
CAUSES = {
    "the leak": ("leaky_w025", "paper_w025"),
    "unpooling by indices": ("paper_w025_indices", "paper_w025"),
    "standardized input": ("paper_w025_standardised", "paper_w025"),
    "no batch norm on the logit": ("paper_w025_nologitnorm", "paper_w025"),
    "constant learning rate": ("paper_w025_nodecay", "paper_w025"),
    "weight decay of 0.0005, constant rate": ("paper_w025_weightdecay", "paper_w025"),
    "width 1.0": ("paper_w100_e40_nearest", "paper_w025"),
    "width 1.0: the leak": ("leaky_w100_e40_nearest", "paper_w100_e40_nearest"),
    "width 1.0: unpooling by indices": ("paper_w100_e40_indices", "paper_w100_e40_nearest"),
    "width 1.0: 100 epochs": ("paper_w100_e100_nearest", "paper_w100_e40_nearest"),
}


def collect(name: str, data_root: Path, command: str, commit: str, device: str) -> None:
    """Write the three files of a finished run."""
    reporting = data_root / "08_reporting"
    table = pd.read_csv(reporting / "table_ii_beside_paper.csv")
    table = table[(table["source"] != "paper") & (table["threshold"] == 0.5)]
    rows = table[["subset", "average", *SCORES, "loss", "n"]].merge(read_intervals(reporting), how="left")
    rows = rows.assign(**read_facts(data_root, command), command=command, commit=commit, device=device)
    cases = pd.read_csv(reporting / "case_metrics.csv")[CASE_COLUMNS]
    history = pd.read_csv(reporting / "training_history.csv")
    files = {"": rows, "cases": cases[cases["subset"] != "train"], "curves": history}
    for folder, content in files.items():
        (LEDGER / folder).mkdir(parents=True, exist_ok=True)
        content.to_csv(LEDGER / folder / f"{name}.csv", index=False, float_format="%.6g")


def read_intervals(reporting: Path) -> pd.DataFrame:
    """Return subset, average, dice_low, dice_high, iou_low and iou_high at the network's threshold."""
    table = pd.read_csv(reporting / "score_intervals.csv")
    table = table[(table["threshold"] == 0.5) & table["metric"].isin(["dice", "iou"])]
    wide = table.pivot_table(index=["subset", "average"], columns="metric", values=["low", "high"])
    wide.columns = [f"{metric}_{side}" for side, metric in wide.columns]
    return wide.reset_index()


def read_facts(data_root: Path, command: str) -> dict[str, Any]:
    """Return the settings of a run, from its files and, where these do not record a setting, from its command."""
    _, metadata = read_tensors(data_root / "06_models" / "network.safetensors")
    options = metadata.get("options", metadata)  # version 0.1 stored the options beside the other metadata
    history = pd.read_csv(data_root / "08_reporting" / "training_history.csv")
    return {
        "protocol": pd.read_csv(data_root / "08_reporting" / "case_metrics.csv")["protocol"].iloc[0],
        "width": options["width"],
        "unpooling": options["unpooling"],
        "epochs": len(history),
        "seed": int(_find_parameter(command, "training.seed", "0")),
        "training_precision": _find_parameter(command, "training.precision", "auto"),
        "training_minutes": round(history["seconds"].sum() / 60, 1),
    }


def beside_paper() -> str:
    """Return Table II of the paper, the notebook's test scores, and our faithful run by both kinds of formulas."""
    ours = pd.read_csv(LEDGER / f"{FAITHFUL}.csv").set_index(["subset", "average"])
    notebook = pd.read_csv(RESULTS / "notebook.csv").set_index(["subset", "epoch"])
    paper = PAPER_TABLE_II.set_index("subset")
    lines = ["| set | source | accuracy | precision | recall | IoU | Dice |", "|---|---|---|---|---|---|---|"]
    for subset in ("validation", "test"):
        lines.append(_score_row(subset, "the paper", paper.loc[subset], decimals=0))
        if subset == "test":
            lines.append(_score_row(subset, "the notebook, 100 epochs", notebook.loc[(subset, 100)], decimals=1))
        lines.append(_score_row(subset, "ours", ours.loc[(subset, "legacy")], decimals=1))
    correct = {"pooled": "pooled pixels", "per_image": "means over images"}
    for average, name in correct.items():
        lines.append(_score_row("test", f"ours, correct, {name}", ours.loc[("test", average)], decimals=1))
    return "\n".join(lines)


def wide_runs() -> str:
    """Return Dice and IoU of hard masks on the 50 test cases, with 95% CIs, of the runs at the paper's width."""
    lines = ["| run at width 1.0 | Dice | IoU |", "|---|---|---|"]
    for name, description in WIDE_RUNS.items():
        row = pd.read_csv(LEDGER / f"{name}.csv").set_index(["subset", "average"]).loc[("test", "per_image")]
        cells = " | ".join(marked_tables.format_interval(row, score) for score in ("dice", "iou"))
        lines.append(f"| {description} | {cells} |")
    return "\n".join(lines)


def causes() -> str:
    """Return the effect of each choice on Dice of the 50 test cases, as results/differences.csv has it."""
    table = pd.read_csv(RESULTS / "differences.csv").query("kind == 'cause'").set_index("change")
    lines = ["| cause | Dice |", "|---|---|"]
    causes = [cause for cause in CAUSES if not cause.startswith("width 1.0: ")]  # wide_runs has these runs
    lines += (f"| {cause} | {marked_tables.format_difference(table.loc[cause], 'dice')} |" for cause in causes)
    return "\n".join(lines)


def find_common_seeds(*names: str) -> list[int]:
    """Return the seeds that all of these runs have.

    Raises:
        FileNotFoundError: There is no common seed.
    """
    seeds = [seed for seed in range(3) if all((LEDGER / f"{name}_s{seed}.csv").is_file() for name in names)]
    if not seeds:
        raise FileNotFoundError(f"{LEDGER} has no common seed of {' and '.join(names)}.")
    return seeds


def read_test_cases(name: str) -> pd.DataFrame:
    """Return the scores of the test cases of a run by case_id."""
    table = pd.read_csv(LEDGER / "cases" / f"{name}.csv")
    return table[table["subset"] == "test"].set_index("case_id").sort_index()


TABLES: dict[str, Callable[[], str]] = {"beside_paper": beside_paper, "wide_runs": wide_runs, "causes": causes}


def _score_row(subset: str, source: str, scores: Any, decimals: int) -> str:
    cells = [f"{100 * scores[name]:.{decimals}f}" for name in SCORES]
    return f"| {subset} | {source} | {' | '.join(cells)} |"


def _find_parameter(command: str, key: str, default: str) -> str:
    assignments = command.replace(",", " ").split()
    return next((each.split("=")[1] for each in assignments if each.startswith(f"{key}=")), default)


if __name__ == "__main__":
    if len(sys.argv) == 6:
        collect(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
    elif len(sys.argv) == 1:
        marked_tables.rewrite(DOCUMENT, TABLES)
    else:
        sys.exit(__doc__)
