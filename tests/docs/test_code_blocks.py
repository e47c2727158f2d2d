"""Tests of the code blocks in README and site: each one is run, or marked with the reason why it is not."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.tools.code_blocks import MARKERS, find_blocks, find_pages

ROOT = Path(__file__).parents[2]
PAGES = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in find_pages()]
RUNNABLE = {
    "cat",
    "cd",
    "cp",
    "diff",
    "echo",
    "export",
    "for",
    "git",
    "grep",
    "head",
    "ls",
    "make",
    "mkdir",
    "rm",
    "sed",
}
"""First words of blocks that are run, apart from programs of .venv."""


@pytest.mark.parametrize("page", PAGES)
def test_blocks_are_run_or_marked(page):
    blocks = list(find_blocks(page))
    assert len(re.findall(r"^\s*```", page.read_text(), re.MULTILINE)) == 2 * len(blocks), "a block cannot be parsed"
    assert not re.findall(r"^ {4,}\.venv/bin/.*", page.read_text(), re.MULTILINE), "a command is not in a block"
    for block in blocks:
        assert block.markers <= MARKERS, block
        assert block.language not in ("", "console", "shell", "sh"), block
        if block.language == "bash" and block.is_run:
            word = next(line.split()[0] for line in block.text.splitlines() if line and not line.startswith("#"))
            assert word in RUNNABLE or "=" in word or (ROOT / word).is_file(), block


@pytest.mark.long
def test_blocks_run_in_a_clone():
    command = [sys.executable, ROOT / "docs" / "tools" / "code_blocks.py"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
