"""Tests of the documentation site. They build it once, which takes about ten seconds."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browser import CHROMIUM, Page, browse

from docs.tools.reference import describe_commands, describe_parameters, find_undocumented

ROOT = Path(__file__).parents[2]
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
pytestmark = pytest.mark.xdist_group("site")

REQUESTS = "performance.getEntries().map(each => each.name).filter(name => /^(https?|wss?):/.test(name))"
SEARCH = """
(() => {
  document.querySelector("[data-md-toggle=search]").click()
  const field = document.querySelector("[data-md-component=search-query]")
  field.value = "keep_largest_component"
  field.dispatchEvent(new KeyboardEvent("keyup"))
})()
"""
FOUND = "[...document.querySelectorAll('.md-search-result__link')].map(link => link.href)"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. The build fails at a broken link, a missing page and an undocumented public name."""
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr
    return site


@pytest.fixture
def url(site: Path) -> Iterator[str]:
    """Address of a server of the site."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_public_names_have_docstrings():
    assert find_undocumented() == []


def test_parameters_and_options_are_described():
    assert re.findall(r"^### `(\S+)` .*\n\n\n", describe_parameters(), re.MULTILINE) == []
    assert "No description" not in describe_commands()


def test_status_codes_of_the_service_are_described():
    sources = (ROOT / "src" / "lesion_segmentation" / "serving").glob("*.py")
    raised = {code for path in sources for code in re.findall(r"Refusal\(\s*(\d+)", path.read_text())}
    page = (ROOT / "docs" / "reference" / "http_api.md").read_text()
    assert raised - {"499"} <= {*re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}  # the client of 499 is gone


def test_pages_load_and_link_only_files_of_the_site(site):
    loading = re.compile(r'<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)="?([^"\s>]+)')
    linking = re.compile(r'<a\b[^>]*?\bhref="?([^"\s>]+)')
    for page in site.rglob("*.html"):
        loaded, linked = (set(each.findall(page.read_text())) for each in (loading, linking))
        assert not [target for target in loaded if re.match(r"(https?:)?//", target)], page
        for target in loaded | linked:
            path = re.sub(r"[#?].*", "", target)
            if path and not re.match(r"https?:|mailto:|data:", path):
                file = site / path.lstrip("/") if path.startswith("/") else page.parent / path
                assert file.exists(), (page, target)


@needs_browser
def test_search_finds_a_parameter_without_foreign_requests(site, url, tmp_path):
    with browse(tmp_path) as page:
        for name in ("index.html", "reference/python_api.html", "reference/parameters.html"):
            page.open(f"{url}/{name}")
            assert_requests_stay(page, url)
        search(page)
        assert_requests_stay(page, url)
        page.open((site / "index.html").as_uri())
        search(page)
        assert page.evaluate(REQUESTS) == []


def assert_requests_stay(page: Page, url: str) -> None:
    requests = page.evaluate(REQUESTS)
    assert requests
    assert not [name for name in requests if not name.startswith(url)]


def search(page: Page) -> None:
    page.evaluate(SEARCH)
    page.wait(f"{FOUND}.some(link => link.includes('reference/parameters.html'))")


@needs_browser
@pytest.mark.long
@pytest.mark.parametrize("name", ["index.html", "reference/parameters.html", "reference/python_api.html"])
def test_pages_are_accessible(url, name, tmp_path):
    import axe_core_python

    axe = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text()
    with browse(tmp_path) as page:
        for width, dark in ((1280, False), (1280, True), (390, False), (390, True)):
            page.open(f"{url}/{name}", width=width, dark=dark)
            page.evaluate("localStorage.clear()")  # the site remembers the first color scheme
            page.open(f"{url}/{name}", width=width, dark=dark)
            scheme = "slate" if dark else "default"
            page.wait(f"document.body.dataset.mdColorScheme === '{scheme}'")
            page.evaluate(axe)
            problems = "axe.run().then(found => found.violations.map(each => each.id + ' ' + each.nodes[0].html))"
            assert page.evaluate(problems) == [], (width, dark)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
