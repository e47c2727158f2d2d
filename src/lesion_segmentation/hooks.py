"""What happens around a run, but for MLflow (tracking.py): the check that data are there, and the closing words."""

from pathlib import Path
from typing import Any

import click
import pandas as pd
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from lesion_segmentation.errors import InputError

RAW = ("ph2_images", "ph2_masks", "ph2_annotations")


class InputHooks:
    """Refuses a run without PH2 before any work is done."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Look for the raw data that this run reads."""
        missing = [name for name in RAW if name in pipeline.inputs() and not catalog.exists(name)]
        if missing:
            raise InputError(
                f"PH2 is not in place: {', '.join(missing)} not found in data/01_raw/ph2.\n"
                "Bring it in with: make ph2 FROM=<folder or zip of PH2> (the README says where PH2 comes from),\n"
                "or run on synthetic cases: kedro run --env demo"
            )


class SummaryHooks:
    """Says at the end, in plain words, what was made and how to look at it."""

    @hook_impl(trylast=True)
    def after_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Print the scores and where everything is."""
        made = sorted(name for name in pipeline.all_outputs() if _path(catalog, name) is not None)
        if not made:
            return
        lines = ["", "Done. This run made:"]
        lines += [f"  {name:<26}{_shown(_path(catalog, name), run_params['project_path'])}" for name in made]
        if "table_ii" in made:
            lines += ["", *_scores(catalog.load("table_ii"))]
        option = f" --env {run_params['env']}" if run_params["env"] not in (None, "local") else ""
        lines += [
            "",
            "Look at it:",
            "  the figures and tables: data/08_reporting (open the .png and .csv files)",
            f"  the pipelines:          kedro viz run{option}",
            "  the runs, side by side: mlflow ui --backend-store-uri sqlite:///mlflow.db",
        ]
        click.echo("\n".join(lines))


def _path(catalog: DataCatalog, name: str) -> Path | None:
    filepath = getattr(catalog.get(name), "_filepath", None)
    return Path(str(filepath)) if filepath else None


def _shown(path: Path | None, project: str) -> str:
    assert path is not None
    return str(path.relative_to(project)) if path.is_relative_to(project) else str(path)


def _scores(table_ii: pd.DataFrame) -> list[str]:
    """One line a subset, in percent."""
    means = table_ii[table_ii["average"] == "per_image"]
    first = means.iloc[0]
    lines = [
        "Scores in percent, means over images, hard masks at 0.5 "
        f"({first['source']} cases, prediction: {first['prediction']}):"
    ]
    for row in means.itertuples():
        scores = "  ".join(
            f"{name} {100 * getattr(row, name):5.1f}" for name in ("accuracy", "precision", "recall", "iou", "dice")
        )
        lines.append(f"  {row.subset:<11}{scores}  (n = {row.n})")
    return lines
