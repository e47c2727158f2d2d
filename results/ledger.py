"""Collect runs of the paper's network in results/ledger, and build the tables of docs/reproduction.md from them.

    python results/ledger.py NAME DATA_ROOT COMMAND COMMIT DEVICE    # collect the finished run in DATA_ROOT
    python results/ledger.py                                         # rewrite the tables of docs/reproduction.md

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
DOCUMENT = RESULTS.parent / "docs" / "reproduction.md"
SCORES = ("accuracy", "precision", "recall", "iou", "dice")
PAIRED = ("dice", "iou", "accuracy")
CASE_COLUMNS = ["subset", "case_id", "sample_id", *SCORES, "loss", "tp", "fp", "fn", "tn"]
FAITHFUL = "leaky_w100_e40_nearest_s0"
"""The run that follows the published protocol, at the paper's width."""

NOTEBOOK_TEST = {
    "accuracy": 0.9396,
    "precision": 0.8899,
    "recall": 0.9213,
    "iou": 0.9361,
    "dice": 0.8037,
    "loss": 0.1875,
}
"""The test scores that the notebook prints after 100 epochs."""
NOTEBOOK_CURVE = {
    1: (31.3, 67.1, 38.8), 2: (31.3, 67.3, 38.4), 5: (68.3, 69.9, 34.1), 10: (68.7, 71.7, 29.3), 20: (92.9, 89.4, 66.2),
    30: (94.7, 92.1, 72.3), 40: (94.1, 92.5, 74.7),
}  # fmt: skip
"""Validation accuracy, legacy IoU and legacy Dice that the notebook prints, in percent, by epoch."""
CAUSES = {
    "the leak: paper_leaky against paper": ("leaky_w025", "paper_w025"),
    "unpooling by indices against nearest": ("paper_w025_indices", "paper_w025"),
    "standardized input against raw": ("paper_w025_standardised", "paper_w025"),
    "no batch norm on the logit against one": ("paper_w025_nologitnorm", "paper_w025"),
    "constant learning rate against the decaying one": ("paper_w025_nodecay", "paper_w025"),
    "true weight decay of 0.0005 against the decaying rate": ("paper_w025_weightdecay", "paper_w025"),
    "width 1.0: against a quarter": ("paper_w100_e40_nearest", "paper_w025"),
    "width 1.0: the leak": ("leaky_w100_e40_nearest", "paper_w100_e40_nearest"),
    "width 1.0: unpooling by indices against nearest": ("paper_w100_e40_indices", "paper_w100_e40_nearest"),
    "width 1.0: 100 epochs against 40": ("paper_w100_e100_nearest", "paper_w100_e40_nearest"),
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
    """Return Table II of the paper, the notebook's test scores, and our faithful run in three ways of averaging."""
    ours = pd.read_csv(LEDGER / f"{FAITHFUL}.csv").set_index(["subset", "average"])
    paper = PAPER_TABLE_II.set_index("subset")
    lines = [
        "| set | source | accuracy | precision | recall | IoU | Dice | loss |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for subset in ("train", "validation", "test"):
        lines.append(_score_row(subset, "the paper", paper.loc[subset], decimals=0))
        if subset == "test":
            lines.append(_score_row(subset, "the notebook, 100 epochs", NOTEBOOK_TEST, decimals=1))
        for source, average in (
            ("ours, by the paper's formulas", "legacy"),
            ("ours, pooled hard masks", "pooled"),
            ("ours, means over images of hard masks", "per_image"),
        ):
            lines.append(_score_row(subset, source, ours.loc[(subset, average)], decimals=1))
    return "\n".join(lines)


def curve() -> str:
    """Return the validation curve of the faithful run beside that of the notebook."""
    history = pd.read_csv(LEDGER / "curves" / f"{FAITHFUL}.csv").set_index("epoch")
    lines = [
        "| epoch | accuracy, theirs / ours | legacy IoU | legacy Dice | our correct Dice |",
        "|---|---|---|---|---|",
    ]
    for epoch, theirs in NOTEBOOK_CURVE.items():
        row = 100 * history.loc[epoch]
        ours = (row["validation_legacy_accuracy"], row["validation_legacy_iou"], row["validation_legacy_dice"])
        pairs = " | ".join(f"{one:.1f} / {other:.1f}" for one, other in zip(theirs, ours, strict=True))
        lines.append(f"| {epoch} | {pairs} | {row['validation_dice']:.1f} |")
    return "\n".join(lines)


def correct_scores() -> str:
    """Return Dice and IoU of hard masks on the 50 test cases with 95% CIs, for every run."""
    lines = [
        "| run | protocol | width | unpooling | epochs | seed | Dice, mean over images | IoU | minutes | on | commit |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for path in sorted(LEDGER.glob("*.csv")):
        row = pd.read_csv(path).set_index(["subset", "average"]).loc[("test", "per_image")]
        scores = [
            f"{100 * row[score]:.1f} ({100 * row[f'{score}_low']:.1f} to {100 * row[f'{score}_high']:.1f})"
            for score in ("dice", "iou")
        ]
        facts = f"{row['protocol']} | {row['width']:g} | {row['unpooling']} | {row['epochs']} | {row['seed']}"
        lines.append(
            f"| {path.stem} | {facts} | {' | '.join(scores)} | {row['training_minutes']:g} | {row['device']} | "
            f"{row['commit']} |"
        )
    return "\n".join(lines)


def causes() -> str:
    """Return the effect of each choice on the 50 test cases, paired by case, as means over the seeds of both runs.

    Raises:
        FileNotFoundError: The ledger does not contain both runs of a pair with a common seed.
    """
    lines = ["| cause | seeds | Dice | IoU | accuracy |", "|---|---|---|---|---|"]
    for description, pair in CAUSES.items():
        seeds = [seed for seed in range(3) if all((LEDGER / f"{name}_s{seed}.csv").is_file() for name in pair)]
        if not seeds:
            raise FileNotFoundError(f"{LEDGER} has no seed of both {' and '.join(pair)}.")
        cells = []
        for score in PAIRED:
            means = [
                pd.concat([_read_test_cases(f"{name}_s{seed}")[score] for seed in seeds], axis=1).mean(axis=1)
                for name in pair
            ]
            cells.append(marked_tables.format_difference(*means))
        lines.append(f"| {description} | {', '.join(map(str, seeds))} | {' | '.join(cells)} |")
    return "\n".join(lines)


def segnet_at_both_widths() -> str:
    """Return SegNet-v2 at both widths with 100 epochs beside three seeds with 200, paired, with four flips."""
    three = [pd.read_csv(RESULTS / f"segnet_cpu_seed{seed}_tta.csv").set_index("case_id") for seed in range(3)]
    lines = ["| recipe | Dice | IoU | accuracy |", "|---|---|---|---|"]
    means = {score: pd.concat([each[score] for each in three], axis=1).mean(axis=1) for score in PAIRED}
    lines.append(f"| segnet_cpu, three seeds | {' | '.join(f'{100 * means[score].mean():.2f}' for score in PAIRED)} |")
    for name in ("base_w100_e100_s0", "base_w025_e100_s0"):
        cases = _read_test_cases(name)
        lines.append(f"| {name} | {' | '.join(f'{100 * cases[score].mean():.2f}' for score in PAIRED)} |")
        cells = [marked_tables.format_difference(cases[score], means[score]) for score in PAIRED]
        lines.append(f"| its difference to segnet_cpu | {' | '.join(cells)} |")
    return "\n".join(lines)


def best_by_epoch() -> str:
    """Return step 7 of the paper: the best validation scores up to an epoch, each with the epoch that reached it."""
    lines = ["| run | up to epoch | accuracy | precision | recall | IoU | Dice |", "|---|---|---|---|---|---|---|"]
    for path in sorted((LEDGER / "curves").glob("*w100*.csv")):
        history = pd.read_csv(path).set_index("epoch")
        columns = [f"validation_{score}" for score in SCORES]
        if not set(columns) <= set(history):
            continue
        for last in [epoch for epoch in (1, 10, 20, 30, 40, 60, 80, 100) if epoch <= history.index.max()]:
            past = history.loc[:last]
            cells = [f"{100 * past[name].max():.1f} ({past[name].idxmax():.0f})" for name in columns]
            lines.append(f"| {path.stem} | {last} | {' | '.join(cells)} |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {
    "beside_paper": beside_paper,
    "curve": curve,
    "correct_scores": correct_scores,
    "causes": causes,
    "segnet_at_both_widths": segnet_at_both_widths,
    "best_by_epoch": best_by_epoch,
}


def _read_test_cases(name: str) -> pd.DataFrame:
    table = pd.read_csv(LEDGER / "cases" / f"{name}.csv")
    return table[table["subset"] == "test"].set_index("case_id").sort_index()


def _score_row(subset: str, source: str, scores: Any, decimals: int) -> str:
    cells = [f"{100 * scores[name]:.{decimals}f}" for name in (*SCORES, "loss")]
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
