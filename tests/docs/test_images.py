"""Tests that the images of README and site show the present code."""

import json
import re
from pathlib import Path

import pytest

from docs.tools.images import IMAGES, REGISTRY, VERSIONS, find_version

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", REGISTRY)
def test_image_is_as_new_as_its_sources(name):
    recorded = json.loads(VERSIONS.read_text())
    assert recorded.get(name) == find_version(REGISTRY[name].sources), (
        f"Run: .venv/bin/python docs/tools/images.py {name}"
    )


def test_images_are_those_of_the_command_and_those_on_pages():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    shown = {Path(target).name for page in pages for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text())}
    files = {path.name for path in IMAGES.iterdir() if path != VERSIONS}
    assert files == set(REGISTRY) == shown
