"""Listing of the image files in a folder, and of everything that is left out, with the reason."""

import os
from pathlib import Path

from lesion_segmentation.images.read import SUFFIXES

WRONG_SUFFIX = f"its name must end in one of {', '.join(SUFFIXES)}, and not in _seg.dcm, which marks segmentations"


def list_image_files(folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Return the image files of a folder at any depth, sorted, and the reasons for all other entries by relative path.

    Links to folders are followed, but no folder is listed twice. Hidden files and folders are skipped without a reason.
    """
    root = folder.resolve()
    seen, files = {root}, []
    closed: list[OSError] = []
    reasons: dict[Path, str] = {}
    for parent, folders, names in os.walk(folder, onerror=closed.append, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for path in [Path(parent, name) for name in folders]:
            real = path.resolve()
            if real in seen or (os.path.islink(path) and (root in real.parents or real in root.parents)):
                folders.remove(path.name)
                reasons[path] = "it links to a folder that is listed already or contains this one"
            else:
                seen.add(real)
        for path in [Path(parent, name) for name in names if not is_hidden(name)]:
            if not os.path.isfile(path):
                reasons[path] = "it is not a regular file" if os.path.exists(path) else "it links to nothing"
            elif has_image_suffix(path.name):
                files.append(path)
            else:
                reasons[path] = WRONG_SUFFIX
    reasons |= {Path(error.filename): f"it cannot be opened ({error.strerror})" for error in closed}
    return sorted(files), {path.relative_to(folder).as_posix(): reasons[path] for path in sorted(reasons)}


def is_hidden(name: str) -> bool:
    """Return whether the system hides a file of this name, or made it for its own use."""
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini", "__macosx")


def has_image_suffix(name: str) -> bool:
    """Return whether the suffix is that of an image. `predict` gives DICOM segmentations the suffix _seg.dcm."""
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.lower().endswith("_seg.dcm")
