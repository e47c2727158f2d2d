"""Build the tables of docs/results/speed.md from results/measurements: `python results/speed_tables.py`."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import marked_tables
import pandas as pd

MEASUREMENTS = Path(__file__).parent / "measurements"
DOCUMENT = MEASUREMENTS.parents[1] / "docs" / "results" / "speed.md"
MACHINES = {"NVIDIA H200": "H200", "AVX2 only": "EPYC with AVX2", "AMD EPYC": "EPYC", "Intel Xeon": "Xeon"}
"""Names in the tables of the machines that the page describes, by a part of the column `processor`."""
RECIPES = ("base", "accurate", "cpu", "pretrained")
NETWORKS = (
    "segnet, width 0.25", "monai_unet", "segnet_skip, width 0.25, dilated", "unet_lite, lite0", "unet_lite, lite2",
)  # fmt: skip


def pivot(
    file: str, topic: str, title: str, columns: Mapping[str, str], subjects: Collection[str] | None = None
) -> str:
    """Return a table of a topic: a row for each subject, setting and machine, and a column for each quantity.

    Args:
        file: Name of the file in results/measurements.
        topic: Value of the column `topic`.
        title: Title of the first column, which contains the subjects.
        columns: Titles by quantity, in order; `setting` and `machine` are columns, too.
        subjects: Subjects to show; None shows all.
    """
    table = pd.read_csv(MEASUREMENTS / file, dtype=str, keep_default_na=False).query("topic == @topic")
    table["machine"] = table["processor"].map(_name_machine)
    keys = ["subject", "setting", "machine"]
    lines = [f"| {title} | {' | '.join(columns.values())} |", "|---" * (len(columns) + 1) + "|"]
    for key, rows in table.groupby(keys, sort=False):
        cells = dict(zip(keys, key, strict=True)) | dict(zip(rows["quantity"][::-1], rows["value"][::-1], strict=True))
        if subjects is None or cells["subject"] in subjects:
            lines.append(f"| {cells['subject']} | {' | '.join(_format(cells[column]) for column in columns)} |")
    return "\n".join(lines)


def _name_machine(processor: str) -> str:
    return next(name for part, name in MACHINES.items() if part in processor)


def _format(value: str) -> str:
    return f"{int(value):,}" if value.isdecimal() else value


def training() -> str:
    """Return the minutes of a training by recipe and machine. With several seeds, the first one is shown."""
    columns = {"setting": "training set", "time": "minutes", "machine": "machine"}
    return pivot("speed.csv", "training time", "`--env`", columns, RECIPES)


def networks() -> str:
    """Return the time per image of each network in training and prediction."""
    columns = {"parameters": "parameters", "arithmetic": "GFLOP", "training": "training", "prediction": "prediction"}
    return pivot("speed.csv", "architectures", "network", columns, NETWORKS)


def prediction() -> str:
    """Return the images per second of prediction."""
    return pivot("operations.csv", "throughput", "method", {"throughput": "images per second"})


def stages() -> str:
    """Return the time of each stage from an image file to its mask, before and after it was made faster."""
    table = pd.read_csv(MEASUREMENTS / "stages.csv", keep_default_na=False)
    cells = {
        (row.size, f"{row.stage}, {row.precision}" if row.precision else row.stage): f"{row.before_ms} | {row.after_ms}"
        for row in table.itertuples()
    }
    sizes, names = (list(dict.fromkeys(key)) for key in zip(*cells, strict=True))
    lines = [
        f"| stage | {' | '.join(f'{size}, before | after' for size in sizes)} |",
        "|---" * (2 * len(sizes) + 1) + "|",
    ]
    lines += [f"| {name} | {' | '.join(cells[size, name] for size in sizes)} |" for name in names]
    return "\n".join(lines)


def engines() -> str:
    """Return the time per image of each engine on one thread, its speed relative to PyTorch, and the Dice."""
    table = pd.read_csv(MEASUREMENTS / "engines.csv").query("threads == 1 and images == 4 and flips == 'four'")
    table = table.sort_values(
        "precision", key=lambda names: names.map(["float32", "bf16", "int8", "int8 and bf16"].index), kind="stable"
    )
    last = {"dice_difference": "Dice, ISIC 2018", "ph2_dice_difference": "Dice, PH2"}
    return _list_speeds(table, {"engine": "engine", "precision": "precision"}, last)


def peers() -> str:
    """Return the time per image of each network on one thread, and its speed relative to this project's network."""
    table = pd.read_csv(MEASUREMENTS / "peers.csv").query("threads == 1").sort_values("task", kind="stable")
    first = {"task": "task", "contender": "network", "precision": "precision"}
    return _list_speeds(table, first, {"reference": "reference"})


def _list_speeds(table: pd.DataFrame, first: dict[str, str], last: dict[str, str]) -> str:
    """Return a row per measurement: the columns `first` with their titles, the speed, and the columns `last`."""
    titles = [*first.values(), "ms", "speed (range)", *last.values()]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for row in table.astype(object).fillna("").to_dict("records"):
        speed = f"{row['speed']:.2f} ({row['speed_min']:.2f} to {row['speed_max']:.2f})"
        if row["speed_min"] == row["speed_max"]:
            speed = "1"
        cells = [*(row[name] for name in first), f"{row['ms']:.0f}", speed, *(row[name] for name in last)]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {
    "training": training, "networks": networks, "prediction": prediction, "stages": stages, "engines": engines,
    "peers": peers,
}  # fmt: skip


if __name__ == "__main__":
    marked_tables.rewrite(DOCUMENT, TABLES)
