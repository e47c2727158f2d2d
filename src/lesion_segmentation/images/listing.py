"""Listing of the image files in a folder, and of everything that is left out, with the reason."""

import os
from pathlib import Path

from lesion_segmentation.images.read import SUFFIXES


def list_image_files(folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Return the image files of a folder at any depth, sorted, and the reasons for all other entries by relative path.

    Links to folders are followed, but no folder is listed twice. Hidden files and folders are skipped without a reason.
    """
    root = os.path.realpath(folder)
    seen, files, left_out = {root}, [], {}

    def leave_out(path: str, reason: str) -> None:
        left_out[Path(os.path.relpath(path, folder)).as_posix()] = reason

    def report(error: OSError) -> None:
        leave_out(error.filename, f"it cannot be opened ({error.strerror})")

    for parent, folders, names in os.walk(folder, onerror=report, followlinks=True):
        for name in sorted(folders):
            path = os.path.join(parent, name)
            real = os.path.realpath(path)
            if is_hidden(name):
                folders.remove(name)
            elif real in seen or (os.path.islink(path) and _is_nested(real, root)):
                folders.remove(name)
                leave_out(path, "it links to a folder that is listed already or contains this one")
            else:
                seen.add(real)
        folders.sort()
        for name in names:
            path = os.path.join(parent, name)
            if is_hidden(name):
                continue
            if not os.path.isfile(path):
                dangling = os.path.islink(path) and not os.path.exists(path)
                leave_out(path, "it links to nothing" if dangling else "it is not a regular file")
            elif reason := explain_suffix(name):
                leave_out(path, reason)
            else:
                files.append(Path(path))
    return sorted(files), dict(sorted(left_out.items()))


def is_hidden(name: str) -> bool:
    """Return whether the system hides a file of this name, or made it for its own use."""
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini", "__macosx")


def explain_suffix(name: str) -> str:
    """Return why a file of this name is not read, or an empty string if it is an image."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix in SUFFIXES:
        return ""
    return f"its name ends in {suffix}, expected {', '.join(SUFFIXES)}" if suffix else "its name has no suffix"


def _is_nested(folder: str, other: str) -> bool:
    return os.path.commonpath((folder, other)) in (folder, other)
