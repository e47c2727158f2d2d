"""Run all benchmarks on this machine: `python -m benchmarks FOLDER`. Nothing else should be running."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import click
import pandas as pd
import torch
from tqdm import tqdm

from benchmarks.networks import NETWORKS, OTHERS, build
from benchmarks.speed import Case, add_ratios, measure

WIDTHS = (0.25, 1.0)
BATCHES = (1, 9, 18)
BATCHES_ON_GPU = (*BATCHES, 60, 120)
"""Small batches leave most of a GPU idle."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def main(folder: Path) -> None:
    """Write speed.csv and architectures.csv to FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = [
        Case(task, network, width, batch)
        for width in WIDTHS
        for task in ("training", "inference", "inference, eager float32")
        for network in NETWORKS
        for batch in (BATCHES_ON_GPU if torch.cuda.is_available() else BATCHES)
        if network == "segnet" or "eager" not in task
    ]
    speed = add_ratios(pd.DataFrame([measure_alone(measure, case) for case in tqdm(cases, desc="speed")]))
    _write(speed, folder / "speed.csv")
    _write(pd.DataFrame(compare_architectures()), folder / "architectures.csv")


def compare_architectures(width: float = 0.25, batch: int = 10) -> list[dict[str, Any]]:
    """Return the parameters, the arithmetic and the milliseconds per image of each architecture, one row each."""
    rows = []
    for network in tqdm((*NETWORKS, *OTHERS), desc="architectures"):
        row: dict[str, Any] = {"network": network, "width": width, "batch": batch}
        row["parameters"] = sum(parameter.numel() for parameter in build(network, width).parameters())
        for task in ("training", "inference"):
            found = measure_alone(measure, Case(task, network, width, batch))
            row |= {"gflop": found["gflop"], f"ms_{task}": found["ms_per_image"], "precision": found["precision"]}
        rows.append(row)
    return rows


def _write(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, float_format="%.5g")
    click.echo(f"\n{table.round(3).to_string(index=False)}")


def measure_alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a fresh process, so that no measurement is affected by the memory or caches of another."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


if __name__ == "__main__":
    main()
