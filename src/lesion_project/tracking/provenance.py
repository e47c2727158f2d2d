"""Provenance of output files: provenance.json in each folder names the MLflow run that wrote each file."""

import json
import threading
from pathlib import Path

from lesion_segmentation.core.atomic_files import atomic_write

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
