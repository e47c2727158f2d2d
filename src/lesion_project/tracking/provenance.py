"""Provenance of output files: provenance.json in each folder names the MLflow run that wrote each file."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lesion_project.parameters import SETTINGS, WITHOUT_EFFECT
from lesion_project.tracking.description import flatten
from lesion_project.tracking.pending import without_retries
from lesion_segmentation.core.atomic_files import atomic_write
from lesion_segmentation.core.storage import hide_passwords

PROVENANCE = "provenance.json"
_LOCK = threading.Lock()


def record_provenance(path: Path, run_id: str) -> None:
    """Record in the file's folder that this run wrote it."""
    with _LOCK:
        records = read_provenance(path.parent) | {path.name: run_id}
        with atomic_write(path.parent / PROVENANCE) as temporary:
            temporary.write_text(json.dumps(records, indent=2, sort_keys=True))


def read_provenance(folder: Path) -> dict[str, str]:
    """Return a mapping from file name to the id of the MLflow run that wrote it, for files that still exist."""
    try:
        records: dict[str, str] = dict(json.loads((folder / PROVENANCE).read_text()))
    except (FileNotFoundError, ValueError, TypeError):  # a damaged record is replaced by the next save
        return {}
    return {name: str(run_id) for name, run_id in records.items() if (folder / name).is_file()}


def find_other_parameters(client: Any, run_id: str, dataset_name: str, parameters: Mapping[str, Any]) -> list[str]:
    """Describe how the parameters of the nodes that lead to a dataset differ from those of the run that wrote it."""
    from kedro.framework.project import pipelines
    from mlflow.exceptions import MlflowException

    whole = pipelines["__default__"]
    if dataset_name not in whole.all_outputs():
        return []
    inputs = whole.to_outputs(dataset_name).inputs()
    idle = (*WITHOUT_EFFECT, "reporting.export", "reporting.register")
    groups = {name: parameters[name] for name in SETTINGS if f"params:{name}" in inputs}
    now = {name: hide_passwords(str(value)) for name, value in flatten(groups).items() if name not in idle}
    try:
        with without_retries():
            earlier = client.get_run(run_id).data.params
    except MlflowException:  # the run was deleted, or it is in another store
        return []
    common = sorted(now.keys() & earlier.keys())
    return [f"{name} was {earlier[name]}, and is {now[name]} now" for name in common if earlier[name] != now[name]]
