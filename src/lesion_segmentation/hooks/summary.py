"""The closing words of a run."""

import sys
from pathlib import Path
from typing import Any

import click
import pandas as pd
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog

from lesion_segmentation.data.splits import describe_protocol
from lesion_segmentation.datasets.places import file_of
from lesion_segmentation.evaluation.tables import at_network_threshold
from lesion_segmentation.tracking.hooks import SCORES
from lesion_segmentation.tracking.origins import ORIGINS, read_origins


class SummaryHooks:
    """Says at the end, in plain words, what was made and how to look at it."""

    def __init__(self) -> None:
        self._made: set[str] = set()

    @hook_impl
    def before_pipeline_run(self) -> None:
        self._made = set()

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        self._made.add(dataset_name)

    @hook_impl(trylast=True)
    def after_pipeline_run(self, run_params: dict[str, Any], catalog: DataCatalog) -> None:
        project = run_params["project_path"]
        made = sorted(name for name in self._made if file_of(catalog, name) is not None)
        if not made:
            return
        lines = ["", "Done. This run made:"]
        lines += [f"  {name.partition('#')[0]:<26}{_shown(file_of(catalog, name), project)}" for name in made]
        if "table_ii" in made:
            lines += ["", *_scores(catalog.load("table_ii"))]
        lines += _mixtures({path.parent for name in made if (path := file_of(catalog, name)) is not None})
        option = f" --env {run_params['env']}" if run_params["env"] not in (None, "local") else ""
        page = (
            ["  the page of it all:     open " + _shown(file_of(catalog, "report"), project)]
            if "report" in made
            else []
        )
        lines += [
            "",
            "Look at it:",
            *page,
            "  the figures and tables: open the .png and .csv files named above",
            f"  the pipelines:          {_command('kedro', project)} viz run{option}",
            f"  the runs, side by side: {_command('mlflow', project)} ui --backend-store-uri sqlite:///mlflow.db",
        ]
        click.echo("\n".join(lines))


def _mixtures(folders: set[Path]) -> list[str]:
    """Which folders hold files of more than one run."""
    runs = {folder: set(read_origins(folder).values()) for folder in sorted(folders)}
    return [
        f"Note: {folder} holds files of {len(found)} runs; {ORIGINS} there says which run made which."
        for folder, found in runs.items()
        if len(found) > 1
    ]


def _shown(path: Path | None, project: str) -> str:
    assert path is not None
    return str(path.relative_to(project)) if path.is_relative_to(project) else str(path)


def _command(name: str, project: str) -> str:
    """The command as it can be called from the project, whether its environment is activated or not."""
    folder = Path(sys.executable).parent
    return str(folder.relative_to(project) / name) if folder.is_relative_to(project) else name


def _scores(table_ii: pd.DataFrame) -> list[str]:
    """One line a subset, in percent, at the network's threshold."""
    means = at_network_threshold(table_ii[table_ii["average"] == "per_image"])
    first = means.iloc[0]
    lines = [
        f"Scores in percent, means over images, hard masks at {first['threshold']:g} ({first['source']} cases, "
        f"{describe_protocol(first['protocol'])}; "
        f"test-time augmentation: {first['test_time_augmentation']}):"
    ]
    for row in means.itertuples():
        scores = "  ".join(f"{name} {100 * getattr(row, name):5.1f}" for name in SCORES)
        lines.append(f"  {row.subset:<11}{scores}  (n = {row.n})")
    return lines
