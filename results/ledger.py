"""The ledger: runs of the paper's network as small files in results/ledger, and the tables that are made of them.

    python results/ledger.py NAME DATA_ROOT COMMAND COMMIT DEVICE    # take what the run below DATA_ROOT left
    python results/ledger.py                                         # write the tables of docs/reproduction.md anew

A run leaves NAME.csv (one row for each subset and average), cases/NAME.csv (the scores of each sample of validation and
test) and curves/NAME.csv (each epoch).
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import marked_tables
import pandas as pd
from safetensors import safe_open

from lesion_segmentation.paper.tables import PAPER_TABLE_II

RESULTS = Path(__file__).parent
DOCS = RESULTS.parent / "docs"
LEDGER = RESULTS / "ledger"
DOCUMENT = DOCS / "reproduction.md"
SCORES = ("accuracy", "precision", "recall", "iou", "dice")
PAIRED = ("dice", "iou", "accuracy")
CASE_COLUMNS = ["subset", "case_id", "sample_id", *SCORES, "loss", "tp", "fp", "fn", "tn"]
FAITHFUL = "leaky_w100_e40_nearest_s0"

NOTEBOOK_TEST = {
    "accuracy": 0.9396,
    "precision": 0.8899,
    "recall": 0.9213,
    "iou": 0.9361,
    "dice": 0.8037,
    "loss": 0.1875,
}
"""The notebook's own test row, after 100 epochs."""
NOTEBOOK_CURVE = {
    1: (31.3, 67.1, 38.8), 2: (31.3, 67.3, 38.4), 5: (68.3, 69.9, 34.1), 10: (68.7, 71.7, 29.3), 20: (92.9, 89.4, 66.2),
    30: (94.7, 92.1, 72.3), 40: (94.1, 92.5, 74.7),
}  # fmt: skip
"""Its validation after some epochs, in percent: accuracy, legacy IoU, legacy Dice."""
CAUSES = {
    "the leak: paper_leaky against paper": ("leaky_w025", "paper_w025"),
    "unpooling by indices against nearest": ("paper_w025_indices", "paper_w025"),
    "standardized input against raw": ("paper_w025_standardized", "paper_w025"),
    "no batch norm on the logit against one": ("paper_w025_nologitnorm", "paper_w025"),
    "constant learning rate against the decaying one": ("paper_w025_nodecay", "paper_w025"),
    "true weight decay of 0.0005 against the decaying rate": ("paper_w025_weightdecay", "paper_w025"),
    "width 1.0: against a quarter": ("paper_w100_e40_nearest", "paper_w025"),
    "width 1.0: the leak": ("leaky_w100_e40_nearest", "paper_w100_e40_nearest"),
    "width 1.0: unpooling by indices against nearest": ("paper_w100_e40_indices", "paper_w100_e40_nearest"),
    "width 1.0: 100 epochs against 40": ("paper_w100_e100_nearest", "paper_w100_e40_nearest"),
}


def collect(name: str, data_root: Path, command: str, commit: str, device: str) -> None:
    """Write the three files of one finished run."""
    reporting = data_root / "08_reporting"
    table = pd.read_csv(reporting / "table_ii_beside_paper.csv")
    ours = table[(table["source"] != "paper") & (table["threshold"] == 0.5)]  # these runs had no column for its role
    rows = ours[["subset", "average", *SCORES, "loss", "n"]].merge(read_intervals(reporting), how="left")
    for folder in (LEDGER, LEDGER / "cases", LEDGER / "curves"):
        folder.mkdir(parents=True, exist_ok=True)
    facts = read_facts(data_root, command)
    rows = rows.assign(**facts, command=command, commit=commit, device=device)
    rows.to_csv(LEDGER / f"{name}.csv", index=False, float_format="%.6g")
    cases = pd.read_csv(reporting / "case_metrics.csv")[CASE_COLUMNS]
    cases = cases[cases["subset"] != "train"]
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


def read_facts(data_root: Path, command: str) -> dict[str, Any]:
    """What the run was: from its files, and from its command what they do not say."""
    with safe_open(data_root / "06_models" / "network.safetensors", "np") as file:
        metadata = {name: _parse(text) for name, text in file.metadata().items()}
    options = metadata.get("options", metadata)
    history = pd.read_csv(data_root / "08_reporting" / "training_history.csv")
    return {
        "protocol": pd.read_csv(data_root / "08_reporting" / "case_metrics.csv")["protocol"].iloc[0],
        "width": options["width"],
        "unpooling": options["unpooling"],
        "epochs": len(history),
        "seed": int(_find(command, "training.seed", "0")),
        "training_precision": _find(command, "training.precision", "auto"),
        "training_minutes": round(history["seconds"].sum() / 60, 1),
    }


def beside_paper() -> str:
    """Table II of the paper, the notebook's row, and the faithful run in both ways of counting."""
    ours = pd.read_csv(LEDGER / f"{FAITHFUL}.csv").set_index(["subset", "average"])
    paper = PAPER_TABLE_II.set_index("subset")
    lines = ["| set | whose | accuracy | precision | recall | IoU | Dice | loss |", "|---|---|---|---|---|---|---|---|"]
    for subset in ("train", "validation", "test"):
        lines.append(_row(subset, "the paper", paper.loc[subset], decimals=0))
        if subset == "test":
            lines.append(_row(subset, "the notebook, 100 epochs", NOTEBOOK_TEST, decimals=1))
        lines.append(_row(subset, "ours, by the paper's formulas", ours.loc[(subset, "legacy")], decimals=1))
        lines.append(_row(subset, "ours, pooled hard masks", ours.loc[(subset, "pooled")], decimals=1))
        lines.append(_row(subset, "ours, means over images of hard masks", ours.loc[(subset, "per_image")], decimals=1))
    return "\n".join(lines)


def curve() -> str:
    """The validation curve of the faithful run beside the notebook's."""
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
    """Dice and IoU of every run on the 50 test cases, hard masks, with intervals."""
    lines = [
        "| run | protocol | width | unpooling | epochs | seed | Dice, mean over images | IoU | minutes | on | commit |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for path in sorted(LEDGER.glob("*.csv")):
        row = pd.read_csv(path).set_index(["subset", "average"]).loc[("test", "per_image")]
        scores = [_with_interval(row, score) for score in ("dice", "iou")]
        facts = f"{row['protocol']} | {row['width']:g} | {row['unpooling']} | {row['epochs']} | {row['seed']}"
        lines.append(
            f"| {path.stem} | {facts} | {' | '.join(scores)} | {row['training_minutes']:g} | {row['device']} | "
            f"{row['commit']} |"
        )
    return "\n".join(lines)


def causes() -> str:
    """What each choice changes on the 50 test cases: mean over the seeds that both have, paired by case."""
    lines = ["| cause | seeds | Dice | IoU | accuracy |", "|---|---|---|---|---|"]
    for words, (changed, reference) in CAUSES.items():
        names = {seed: (f"{changed}_s{seed}", f"{reference}_s{seed}") for seed in range(3)}
        seeds = [seed for seed, pair in names.items() if all(_cases_of(name) is not None for name in pair)]
        if not seeds:
            continue
        cells = []
        for score in PAIRED:
            means = [
                pd.concat([_cases_of(f"{name}_s{seed}")[score] for seed in seeds], axis=1).mean(axis=1)
                for name in (changed, reference)
            ]
            cells.append(marked_tables.tell_difference(*means))
        lines.append(f"| {words} | {', '.join(map(str, seeds))} | {' | '.join(cells)} |")
    return "\n".join(lines)


def base_beside_cpu() -> str:
    """conf/base, one seed, beside the mean of three of conf/cpu: the same 50 cases, paired, over four views."""
    three = [pd.read_csv(RESULTS / f"segnet_cpu_seed{seed}_tta.csv").set_index("case_id") for seed in range(3)]
    lines = ["| recipe | Dice | IoU | accuracy |", "|---|---|---|---|"]
    means = {score: pd.concat([each[score] for each in three], axis=1).mean(axis=1) for score in PAIRED}
    lines.append(f"| conf/cpu, three seeds | {' | '.join(f'{100 * means[score].mean():.2f}' for score in PAIRED)} |")
    for name in ("base_w100_e100_s0", "base_w025_e100_s0"):
        cases = _cases_of(name)
        if cases is None:
            continue
        lines.append(f"| {name} | {' | '.join(f'{100 * cases[score].mean():.2f}' for score in PAIRED)} |")
        cells = [marked_tables.tell_difference(cases[score], means[score]) for score in PAIRED]
        lines.append(f"| that, less conf/cpu | {' | '.join(cells)} |")
    return "\n".join(lines)


def best_by_epoch() -> str:
    """The paper's step 7: the best validation scores as epochs increase, with the epoch at which they were reached."""
    lines = ["| run | up to epoch | accuracy | precision | recall | IoU | Dice |", "|---|---|---|---|---|---|---|"]
    for path in sorted((LEDGER / "curves").glob("*w100*.csv")):
        history = pd.read_csv(path).set_index("epoch")
        for last in [epoch for epoch in (1, 10, 20, 30, 40, 60, 80, 100) if epoch <= history.index.max()]:
            seen = history.loc[:last]
            columns = [f"validation_{score}" for score in SCORES]
            if not set(columns) <= set(seen):
                continue
            cells = [f"{100 * seen[name].max():.1f} ({seen[name].idxmax():.0f})" for name in columns]
            lines.append(f"| {path.stem} | {last} | {' | '.join(cells)} |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {
    "beside_paper": beside_paper,
    "curve": curve,
    "correct_scores": correct_scores,
    "causes": causes,
    "base_beside_cpu": base_beside_cpu,
    "best_by_epoch": best_by_epoch,
}


def rebuild(text: str) -> str:
    """The document with its tables made anew."""
    return marked_tables.rebuild(text, TABLES)


def _cases_of(name: str) -> pd.DataFrame | None:
    path = LEDGER / "cases" / f"{name}.csv"
    if not path.is_file():
        return None
    table = pd.read_csv(path)
    return table[table["subset"] == "test"].set_index("case_id").sort_index()


def _with_interval(row: pd.Series, score: str) -> str:
    return f"{100 * row[score]:.1f} ({100 * row[f'{score}_low']:.1f} to {100 * row[f'{score}_high']:.1f})"


def _row(subset: str, whose: str, scores: Any, decimals: int) -> str:
    cells = [f"{100 * scores[name]:.{decimals}f}" for name in (*SCORES, "loss")]
    return f"| {subset} | {whose} | {' | '.join(cells)} |"


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _find(command: str, key: str, default: str) -> str:
    """The value of a parameter in a command."""
    parts = command.replace(",", " ").split()
    return next((part.split("=")[1] for part in parts if part.startswith(f"{key}=")), default)


if __name__ == "__main__":
    if len(sys.argv) == 6:
        collect(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
    elif len(sys.argv) == 1:
        DOCUMENT.write_text(rebuild(DOCUMENT.read_text()))
    else:
        sys.exit(__doc__)
