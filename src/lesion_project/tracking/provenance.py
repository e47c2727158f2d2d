"""Which run made which file: a note beside the outputs, so that a mixture of runs shows."""

import json
import threading
from pathlib import Path

from lesion_segmentation.core.atomic_files import atomic_write

ORIGINS = "provenance.json"
_LOCK = threading.Lock()


def record_origin(path: Path, run_id: str) -> None:
    """Note in the file's folder that this run made it."""
    note = path.parent / ORIGINS
    with _LOCK:
        origins = read_origins(path.parent) | {path.name: run_id}
        with atomic_write(note) as temporary:
            temporary.write_text(json.dumps(origins, indent=2, sort_keys=True))


def read_origins(folder: Path) -> dict[str, str]:
    """File name to the MLflow id of the run that made it; files that are gone are left out."""
    note = folder / ORIGINS
    if not note.is_file():
        return {}
    try:
        origins: dict[str, str] = dict(json.loads(note.read_text()))
    except (ValueError, TypeError):  # damaged by hand: the next save begins it anew
        return {}
    return {name: str(run_id) for name, run_id in origins.items() if (folder / name).is_file()}
