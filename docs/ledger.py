"""The ledger: what runs of the paper's network left, as small files in docs/results/ledger.

    python docs/ledger.py NAME DATA_ROOT COMMAND COMMIT    # take what the run below DATA_ROOT left

A run leaves NAME.csv (one row for each subset and average), cases/NAME.csv (each sample's scores) and curves/NAME.csv
(each epoch). Tables of documents are made from these files alone.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import safe_open

LEDGER = Path(__file__).parent / "results" / "ledger"
AVERAGES = ("per_image", "pooled", "legacy")
SCORES = ("accuracy", "precision", "recall", "iou", "dice")
CASE_COLUMNS = ["subset", "case_id", "sample_id", *SCORES, "loss", "tp", "fp", "fn", "tn"]


def collect(name: str, data_root: Path, command: str, facts: dict[str, Any]) -> None:
    """Write the three files of one finished run."""
    reporting = data_root / "08_reporting"
    table = pd.read_csv(reporting / "table_ii_beside_paper.csv")
    ours = table[(table["source"] != "paper") & (table["threshold"] == 0.5)]
    rows = ours[["subset", "average", *SCORES, "loss", "n"]].merge(read_intervals(reporting), how="left")
    for folder in (LEDGER, LEDGER / "cases", LEDGER / "curves"):
        folder.mkdir(parents=True, exist_ok=True)
    rows.assign(**facts, command=command).to_csv(LEDGER / f"{name}.csv", index=False, float_format="%.6g")
    cases = pd.read_csv(reporting / "case_metrics.csv")[CASE_COLUMNS]
    cases.to_csv(LEDGER / "cases" / f"{name}.csv", index=False, float_format="%.6g")
    history = pd.read_csv(reporting / "training_history.csv")
    history.to_csv(LEDGER / "curves" / f"{name}.csv", index=False, float_format="%.6g")


def read_intervals(reporting: Path) -> pd.DataFrame:
    """subset, average, dice_low, dice_high, iou_low, iou_high at the network's threshold."""
    table = pd.read_csv(reporting / "score_intervals.csv")
    table = table[(table["threshold"] == 0.5) & table["metric"].isin(["dice", "iou"])]
    wide = table.pivot_table(index=["subset", "average"], columns="metric", values=["low", "high"])
    wide.columns = [f"{metric}_{side}" for side, metric in wide.columns]
    return wide.reset_index()


def read_facts(data_root: Path, precision: str, epochs: int, seed: int, commit: str) -> dict[str, Any]:
    """What the run was: from its weights where they say it, else as given."""
    with safe_open(data_root / "06_models" / "network.safetensors", "np") as file:
        metadata = {name: json.loads(text) for name, text in file.metadata().items()}
    options = metadata.get("options", metadata)
    protocol = pd.read_csv(data_root / "08_reporting" / "case_metrics.csv")["protocol"].iloc[0]
    return {
        "protocol": protocol,
        "width": options["width"],
        "unpooling": options["unpooling"],
        "epochs": epochs,
        "seed": seed,
        "precision": precision,
        "commit": commit,
    }


def find(command: str, key: str, default: str) -> str:
    """The value of a parameter in a command."""
    parts = command.replace(",", " ").split()
    return next((part.split("=")[1] for part in parts if part.startswith(f"{key}=")), default)


if __name__ == "__main__":
    run_name, root, run_command, run_commit = sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    epochs = len(pd.read_csv(root / "08_reporting" / "training_history.csv"))
    given = (find(run_command, "training.precision", "auto"), epochs, int(find(run_command, "training.seed", "0")))
    collect(run_name, root, run_command, read_facts(root, *given, run_commit))
