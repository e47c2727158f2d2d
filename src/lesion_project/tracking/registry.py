"""Registration of a run's network in MLflow's registry, and choice of the champion version."""

import logging
import tempfile
from collections.abc import Mapping
from typing import Any

import pandas as pd

from lesion_project.datasets.atomic import Table
from lesion_project.datasets.mlflow_runs import download_run_file
from lesion_project.tracking.model import quiet
from lesion_segmentation.core.errors import InputError, first_line, pluralize
from lesion_segmentation.evaluation.comparison import compare_runs, pair_cases
from lesion_segmentation.evaluation.tables import headline_subset

logger = logging.getLogger(__name__)
CHAMPION = "champion"
METRIC = "dice"


def register_network(
    client: Any, run_id: str, name: str, metrics: Mapping[str, float], case_metrics: pd.DataFrame
) -> None:
    """Register the network that a run logged as a version of `name`, with its scores as tags.

    The first version receives the alias `champion`. A later version takes it over if it is better on the same cases:
    the 95% CI of the mean paired difference in Dice lies above 0.
    """
    import mlflow

    (*_, logged) = client.get_run(run_id).outputs.model_outputs
    with quiet():
        version = mlflow.register_model(f"models:/{logged.model_id}", name, tags={"run_id": run_id})
    for key, value in metrics.items():
        client.set_model_version_tag(name, version.version, key, f"{value:.6g}")
    is_better, verdict = _compare_with_champion(client, name, version.version, case_metrics)
    if is_better:
        client.set_registered_model_alias(name, CHAMPION, version.version)
    client.set_model_version_tag(name, version.version, "compared_with_champion", verdict)
    logger.info("models:/%s/%s is registered: %s", name, version.version, verdict)


def _compare_with_champion(client: Any, name: str, version: str, case_metrics: pd.DataFrame) -> tuple[bool, str]:
    """Return whether this new version becomes the champion, and the reason in words."""
    from mlflow.exceptions import MlflowException

    try:
        champion = client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        # The alias is missing, or the version that it names was deleted.
        missing = error.error_code == "INVALID_PARAMETER_VALUE" and "alias" in str(error).lower()
        if not missing and error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return True, "the first of its name" if str(version) == "1" else "there was no champion any more"
    earlier = client.get_model_version(name, champion.version).tags.get("run_id") or champion.run_id
    try:
        with tempfile.TemporaryDirectory() as folder:
            baseline = Table(filepath=str(download_run_file(earlier, "case_metrics.csv", folder))).load()
        table = compare_runs(pair_cases(baseline, case_metrics)).set_index(["subset", "metric"])
        row = table.loc[(headline_subset(case_metrics), METRIC)]
    except (InputError, MlflowException, OSError, KeyError) as error:
        return False, f"not comparable with version {champion.version}, which stays the champion ({first_line(error)})"
    difference = (
        f"Dice {100 * row['difference']:+.2f} percentage points "
        f"(95% CI {100 * row['low']:+.2f} to {100 * row['high']:+.2f}) on {pluralize(row['n'], 'case')}"
    )
    if row["low"] > 0:
        return True, f"better than version {champion.version}: {difference}"
    return False, f"not shown to be better than version {champion.version}, which stays the champion: {difference}"
