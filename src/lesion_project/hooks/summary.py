"""The closing words of a run."""

import re
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

from lesion_project.datasets.file_paths import file_of
from lesion_project.tracking.hooks import TrackingHooks
from lesion_project.tracking.provenance import ORIGINS, read_origins
from lesion_segmentation.core.display_names import name_source
from lesion_segmentation.data.splits import describe_protocol
from lesion_segmentation.evaluation.tables import SCORES, at_network_threshold

FEW = 3


class SummaryHooks:
    """Says at the end, in plain words, what was made and how to look at it.

    Args:
        tracking: Knows the run in MLflow.
    """

    def __init__(self, tracking: TrackingHooks) -> None:
        self._tracking = tracking
        self._made: set[str] = set()

    @hook_impl
    def before_pipeline_run(self) -> None:
        self._made = set()

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        self._made.add(dataset_name)

    @hook_impl(trylast=True)
    def after_pipeline_run(self, run_params: dict[str, Any], catalog: DataCatalog) -> None:
        """Print the scores, how to look at the run, and where its files are."""
        files = {name: path for name in sorted(self._made) if (path := file_of(catalog, name)) and path.stat().st_size}
        if not files:
            return
        lines = ["", "Done."]
        for name, tell in TOLD.items():
            if name in files:
                lines += ["", *tell(catalog.load(name))]
        lines += [
            "",
            "Look at it:",
            *_look(files, run_params, self._tracking),
            "",
            "Files:",
            *_list_files(files),
        ]
        click.echo("\n".join([*lines, *_mixtures(files)]))


def _look(files: dict[str, Path], run_params: dict[str, Any], tracking: TrackingHooks) -> list[str]:
    project = Path(run_params["project_path"])
    option = f" --env {run_params['env']}" if run_params["env"] not in (None, "local") else ""
    lines = [f"  the page of it all      {_shown(files['report'])}"] if "report" in files else []
    served = tracking.store.startswith("http")
    if not served:
        here = tracking.store == f"sqlite:///{Path.cwd() / 'mlflow.db'}"
        store = "sqlite:///mlflow.db" if here else shlex.quote(without_password(tracking.store))
        lines.append(f"  the runs, side by side  {_command('mlflow', project)} ui --backend-store-uri {store}")
    return [
        *lines,
        f"  {'this run' if served else 'this run, there':<24}{without_password(tracking.page)}",
        f"  the pipelines           {_command('kedro', project)} viz run{option}",
    ]


def _list_files(files: dict[str, Path]) -> list[str]:
    """One line a folder: few files by name, many by their kinds."""
    lines = []
    for folder in sorted({path.parent for path in files.values()}):
        names = sorted(path.name for path in files.values() if path.parent == folder)
        kinds = Counter(Path(name).suffix for name in names)
        told = ", ".join(names) if len(names) <= FEW else ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
        lines.append(f"  {_shown(folder):<25} {told}")
    return lines


def _mixtures(files: dict[str, Path]) -> list[str]:
    """Which folders hold files of more than one run: it matters where scores or figures stand side by side."""
    folders = {path.parent for path in files.values() if path.suffix in (".csv", ".png", ".html")}
    runs = {folder: set(read_origins(folder).values()) for folder in sorted(folders)}
    return [
        f"Note: {folder} holds files of {len(found)} runs; {ORIGINS} there says which run made which."
        for folder, found in runs.items()
        if len(found) > 1
    ]


def without_password(uri: str) -> str:
    """A URI as it may stand in a log."""
    return re.sub(r"(?<=://)[^/@]*@", "", uri)


def _shown(path: Path) -> str:
    """As it can be opened from where the command was called, which may be a subfolder of the project."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _command(name: str, project: Path) -> str:
    """The command as it can be called from here, whether its environment is activated or not."""
    folder = Path(sys.executable).parent
    return _shown(folder / name) if folder.is_relative_to(project) else name


def _scores(table_ii: pd.DataFrame) -> list[str]:
    """One line a subset, in percent, at the network's threshold."""
    means = at_network_threshold(table_ii[table_ii["average"] == "per_image"])
    first = means.iloc[0]
    lines = [
        f"Scores in percent, means over images, hard masks at {first['threshold']:g} ({name_source(means)} cases, "
        f"{describe_protocol(first['protocol'])}; "
        f"test-time augmentation: {first['test_time_augmentation']}):"
    ]
    for row in means.itertuples():
        scores = "  ".join(f"{name} {100 * getattr(row, name):5.1f}" for name in SCORES)
        lines.append(f"  {row.subset:<11}{scores}  (n = {row.n})")
    return lines


def _pooled(cross_validation: pd.DataFrame) -> list[str]:
    """The main scores over the test cases of all folds."""
    rows = cross_validation[cross_validation["metric"].isin(SCORES)]
    lines = [f"Test cases of {rows['folds'].iloc[0]} folds, n = {rows['n'].iloc[0]}, in percent (95% interval):"]
    lines += [f"  {row.metric:<10}{100 * row.score:5.1f} ({100 * row.low:.1f} to {100 * row.high:.1f})"
              for row in rows.itertuples()]  # fmt: skip
    return lines


def _differences(comparison: pd.DataFrame) -> list[str]:
    """The paired differences of the main scores."""
    rows = comparison[comparison["metric"].isin(SCORES)]
    lines = ["Candidate minus baseline, means over cases in percent points (95% interval):"]
    lines += [f"  {row.subset:<11}{row.metric:<10}{100 * row.difference:+6.2f} ({100 * row.low:+.2f} to "
              f"{100 * row.high:+.2f}), n = {row.n}" for row in rows.itertuples()]  # fmt: skip
    return lines


TOLD: dict[str, Callable[[pd.DataFrame], list[str]]] = {
    "table_ii": _scores,
    "cross_validation#table": _pooled,
    "comparison#table": _differences,
}
"""Tables whose scores are told at the end."""
