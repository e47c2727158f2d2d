"""Run the commands of README and site in a scratch clone of the project, with the environment in .venv.

    .venv/bin/python docs/tools/code_blocks.py [PAGE ...]    # all pages by default

The blocks of a page run in order, each block of bash in the folder of the clone, and the Python blocks of a page in one
namespace. The clone has synthetic images, such as `images/lesion_01.jpg`, and their masks in `masks`. Blocks with a
marker are left out.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
MARKERS = {
    "needs-ph2", "needs-isic", "needs-gpu", "needs-slurm", "needs-container", "needs-cluster", "needs-internet",
    "needs-server", "illustration",
}  # fmt: skip
"""Why a block is not run: what it needs, or that it is no command."""
_FENCE = re.compile(r"^```(?:\{([^}\n]*)\}|([\w-]*)) *\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block of a page: the line of its fence, its language, its markers and its text."""

    page: Path
    line: int
    language: str
    markers: frozenset[str]
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_run(self) -> bool:
        return self.language in ("bash", "python") and not self.markers


def find_pages() -> list[Path]:
    """Return the README and the pages of the site that people write, in the order of the navigation."""
    names = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    return [ROOT / "README.md", *(ROOT / "docs" / name for name in names)]


def find_blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    text = page.read_text()
    for found in _FENCE.finditer(text):
        words = [word.removeprefix(".") for word in (found[1] or found[2]).split()]
        line = text.count("\n", 0, found.start()) + 1
        yield Block(page, line, words[0] if words else "", frozenset(words[1:]), found[3])


def make_clone(project: Path) -> None:
    """Write the project as it is in this folder, except ignored files, with the environment and synthetic images."""
    subprocess.run(["git", "clone", "--quiet", ROOT, project], check=True)
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
        if (ROOT / name).is_file():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, project / name)
    (project / ".venv").mkdir()
    now = time.time()
    for path in (ROOT / ".venv").iterdir():
        if path.name.startswith("."):  # make compares their times with those of the copies
            (project / ".venv" / path.name).touch()
            os.utime(project / ".venv" / path.name, (now, now))  # equal times, so that make installs nothing
        else:
            (project / ".venv" / path.name).symlink_to(path)
    for name in ("images", "masks"):
        shutil.copytree(ROOT / "docs" / "tutorials" / "own_images" / name, project / name)


def run_page(page: Path, project: Path) -> list[str]:
    """Run the blocks of a page and return a description of each failure."""
    failures, namespace = [], {"__name__": "__main__"}
    for block in find_blocks(page):
        if not block.is_run:
            continue
        start = time.monotonic()
        problem = _run_python(block, namespace) if block.language == "python" else _run_bash(block, project)
        print(f"{block}: {'failed' if problem else 'done'} after {time.monotonic() - start:.1f} s", flush=True)
        failures += [f"{block}\n{block.text}{problem}"] if problem else []
    return failures


def _run_bash(block: Block, project: Path) -> str:
    command = ["bash", "-e", "-o", "pipefail", "-c", block.text]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    output = (result.stdout + result.stderr)[-3000:]
    return f"exit status {result.returncode}\n{output}" if result.returncode else ""


def _run_python(block: Block, namespace: dict[str, Any]) -> str:
    try:
        exec(compile(block.text, str(block), "exec"), namespace)
    except (Exception, SystemExit):
        return traceback.format_exc()
    return ""


def main(pages: list[Path]) -> None:
    """Run the pages in one clone. Ends with an error that shows the blocks that failed."""
    os.environ["DO_NOT_TRACK"] = "true"
    for name in ("MLFLOW_TRACKING_URI", "KEDRO_ENV", "LESION_TOKEN"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        make_clone(project)
        os.chdir(project)
        failures = [failure for page in pages for failure in run_page(page, project)]
        os.chdir(ROOT)
    if failures:
        sys.exit("\n".join([*failures, f"Blocks that failed: {len(failures)}. Correct the page or the command."]))


if __name__ == "__main__":
    main([Path(name).resolve() for name in sys.argv[1:]] or find_pages())
