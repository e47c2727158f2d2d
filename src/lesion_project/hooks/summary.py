"""Closing words of a run: scores, addresses of the results, and files."""

import shlex
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pandas as pd
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog

from lesion_project.datasets.atomic import file_of
from lesion_project.tracking.hooks import TrackingHooks
from lesion_project.tracking.provenance import PROVENANCE, read_provenance
from lesion_project.tracking.run import TrackedRun
from lesion_segmentation.core.display_names import describe_augmentation, name_source
from lesion_segmentation.core.errors import pluralize
from lesion_segmentation.core.storage import hide_passwords
from lesion_segmentation.data.splits import describe_protocol
from lesion_segmentation.evaluation.tables import SCORES, at_network_threshold

MOST_NAMES = 3
"""A folder's line names up to this many files, and counts more by their suffix."""
STANDARD_ENVIRONMENTS = (None, "local", "base", "cpu")


class SummaryHooks:
    """Prints at the end of a run what it produced and how to look at it."""

    def __init__(self, tracking: TrackingHooks) -> None:
        self._tracking = tracking

    @hook_impl(trylast=True)
    def after_pipeline_run(self, run_params: dict[str, Any], catalog: DataCatalog) -> None:
        """Print the scores and, except after a trial, how to look at the run and where its files are."""
        paths = {name: file_of(catalog, name) for name in sorted(self._tracking.saved)}
        files = {name: path for name, path in paths.items() if path is not None and path.stat().st_size}
        if not self._tracking.saved and run_params.get("only_missing_outputs"):
            click.echo("Nothing to do: all outputs exist. To make them again, omit --only-missing-outputs.")
        if not files:
            return
        scores = [
            line for name in SCORE_TABLES if name in files for line in ["", *SCORE_TABLES[name](catalog.load(name))]
        ]
        if "parent_run" in (run_params.get("runtime_params") or {}):
            click.echo("\n".join(scores), nl=bool(scores))
            return
        lines = ["", "Done.", *scores]
        lines += ["", "Results:", *_list_addresses(files, run_params, self._tracking.run)]
        lines += ["", "Files:", *_list_files(files), *_list_mixed_folders(files)]
        if "network" in files and run_params["env"] in STANDARD_ENVIRONMENTS:
            lines += ["", "For the most accurate recipe, run: kedro run --env accurate"]
        click.echo("\n".join(lines))


def _list_addresses(files: dict[str, Path], run_params: dict[str, Any], run: TrackedRun) -> list[str]:
    """List the report's file, the command that shows all runs, the run's page, and the command that shows pipelines."""
    project = Path(run_params["project_path"])
    option = f" --env {run_params['env']}" if run_params["env"] not in (None, "local") else ""
    addresses = {"report": _shorten(files["report"])} if "report" in files else {}
    if not run.tracking_uri.startswith("http"):
        is_here = run.tracking_uri == f"sqlite:///{Path.cwd() / 'mlflow.db'}"
        store = "sqlite:///mlflow.db" if is_here else shlex.quote(hide_passwords(run.tracking_uri))
        addresses["all runs"] = f"{_command('mlflow', project)} ui --backend-store-uri {store}"
    addresses["this run in MLflow"] = hide_passwords(run.page)
    addresses["pipelines"] = f"{_command('kedro', project)} viz run{option}"
    return [f"  {label:<19} {address}" for label, address in addresses.items()]


def _list_files(files: dict[str, Path]) -> list[str]:
    """Return one line per folder, with the names of few files or the counts of many."""
    lines = []
    for folder in sorted({path.parent for path in files.values()}):
        names = sorted(path.name for path in files.values() if path.parent == folder)
        counts = sorted(Counter(Path(name).suffix for name in names).items())
        shown = names if len(names) <= MOST_NAMES else [f"{count} {suffix}" for suffix, count in counts]
        lines.append(f"  {_shorten(folder):<25} {', '.join(shown)}")
    return lines


def _list_mixed_folders(files: dict[str, Path]) -> list[str]:
    """Return a note for each folder in which tables, figures or pages of several runs stand side by side."""
    folders = {path.parent for path in files.values() if path.suffix in (".csv", ".png", ".html")}
    runs = {folder: set(read_provenance(folder).values()) for folder in sorted(folders)}
    return [
        f"Note: {folder} holds files of {len(found)} runs. {PROVENANCE} in it names the run of each file."
        for folder, found in runs.items()
        if len(found) > 1
    ]


def _shorten(path: Path) -> str:
    """Return the path relative to the current folder if it is inside, so that it can be opened from there."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _command(name: str, project: Path) -> str:
    """Return the command in a form that works from the current folder, with or without an activated environment."""
    folder = Path(sys.executable).parent
    return _shorten(folder / name) if folder.is_relative_to(project) else name


def _describe_table_ii(table_ii: pd.DataFrame) -> list[str]:
    """Return one line per subset, in percent, at the network's threshold."""
    means = at_network_threshold(table_ii[table_ii["average"] == "per_image"])
    first = means.iloc[0]
    lines = [
        f"Scores in percent, means over images of {name_source(means)}, {describe_protocol(first['protocol'])}, "
        f"threshold {first['threshold']:g}, {describe_augmentation(first['test_time_augmentation'])}:"
    ]
    for row in means.itertuples():
        scores = "  ".join(f"{name} {100 * getattr(row, name):5.1f}" for name in SCORES)
        lines.append(f"  {row.subset:<11}{scores}  (n = {row.n})")
    return lines


def _describe_cross_validation(cross_validation: pd.DataFrame) -> list[str]:
    rows = cross_validation[cross_validation["metric"].isin(SCORES)]
    lines = [f"Test cases of {pluralize(rows['folds'].iloc[0], 'fold')}, n = {rows['n'].iloc[0]}, in percent (95% CI):"]
    lines += [f"  {row.metric:<10}{100 * row.score:5.1f} ({100 * row.low:.1f} to {100 * row.high:.1f})"
              for row in rows.itertuples()]  # fmt: skip
    return lines


def _describe_comparison(comparison: pd.DataFrame) -> list[str]:
    rows = comparison[comparison["metric"].isin(SCORES)]
    lines = ["Candidate minus baseline, means over cases in percentage points (95% CI):"]
    lines += [f"  {row.subset:<11}{row.metric:<10}{100 * row.difference:+6.2f} ({100 * row.low:+.2f} to "
              f"{100 * row.high:+.2f}), n = {row.n}" for row in rows.itertuples()]  # fmt: skip
    return lines


def _describe_diagnosis(diagnosis: pd.DataFrame) -> list[str]:
    """Return one line per task, set of features and mask."""
    scores = diagnosis.pivot_table("score", ["task", "features", "mask"], "metric", sort=False).reset_index()
    lines = [f"Diagnoses of n = {diagnosis['n'].iloc[0]} cases, in percent; the CIs are in diagnosis.csv:"]
    lines += [f"  {row.task:<12}{row.features:<14}{row.mask:<11}{100 * row.balanced_accuracy:5.1f} balanced accuracy"
              f"{100 * row.auc:7.1f} AUC" for row in scores.itertuples()]  # fmt: skip
    return lines


SCORE_TABLES: dict[str, Callable[[pd.DataFrame], list[str]]] = {
    "table_ii": _describe_table_ii,
    "cross_validation#table": _describe_cross_validation,
    "comparison#table": _describe_comparison,
    "diagnosis#table": _describe_diagnosis,
}
"""Datasets whose scores are printed at the end, and the functions that put them into lines."""
