"""Tests of the web page in a browser."""

from pathlib import Path

import pytest
from browser import CHROMIUM, browse
from PIL import Image

from lesion_segmentation.data.sources import synthetic

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
CARDS = "document.querySelectorAll('.card').length"


@pytest.fixture
def files(tmp_path) -> list[Path]:
    files = [tmp_path / f"synthetic{number}.png" for number in (3, 7)]
    for number, file in zip((3, 7), files, strict=True):
        Image.fromarray(synthetic.synthesize_case(number).image).save(file)
    return files


def test_threshold_changes_masks_without_new_requests(serve, files, tmp_path):
    import axe_core_python

    axe = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text()
    url = f"http://127.0.0.1:{serve()}/"
    with browse(tmp_path) as page:
        for width, dark in ((1280, False), (390, True)):
            page.open(url, width=width, dark=dark)
            page.choose("#files", files)
            page.wait(f"{CARDS} === 2")
            page.evaluate(axe)
            problems = "axe.run().then(found => found.violations.map(each => each.id + ' ' + each.nodes[0].html))"
            assert page.evaluate(problems) == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        count_requests = "performance.getEntriesByType('resource').filter(r => r.name.includes('predict')).length"
        assert page.evaluate(count_requests) == 2
        area = "entries.map(entry => entry.row.lesion_area).join()"
        before = page.evaluate(area)
        page.evaluate("find('threshold').focus()")
        for _ in range(3):
            page.press("ArrowRight")
        page.wait(f"{area} !== '{before}'")
        assert page.evaluate("find('shown').textContent") == "0.53"
        assert page.evaluate(count_requests) == 2


def test_bad_file_is_reported_and_the_next_one_is_predicted(serve, files, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    with browse(tmp_path) as page:
        page.open(f"http://127.0.0.1:{serve()}/")
        page.choose("#files", [bad])
        page.wait("find('status').textContent.includes('not a readable image')")
        page.choose("#files", files[:1])
        page.wait(f"{CARDS} === 1")


def test_example_is_predicted_and_the_network_is_named(serve, tmp_path):
    with browse(tmp_path) as page:
        page.open(f"http://127.0.0.1:{serve()}/")
        page.wait("find('network').textContent.startsWith('Network: segnet, trained on ')")
        page.evaluate("find('example').focus()")
        page.press(" ")
        page.wait(f"{CARDS} === 1")
        assert page.evaluate("entries[0].row.lesion_percent > 1")
        assert "Expected Dice" in page.evaluate("document.querySelector('.card dl').textContent")


@pytest.mark.parametrize("path", ["/docs", "/lesions/docs"])
def test_documentation_sends_requests_at_the_root_and_behind_a_prefix(serve, path, tmp_path):
    with browse(tmp_path) as page:
        page.open(f"http://127.0.0.1:{serve(root_path='/lesions')}{path}")
        page.wait("document.querySelectorAll('.opblock').length === 3")
        for button in (".opblock-get .opblock-summary-control", ".try-out__btn", ".execute"):
            page.wait(f"document.querySelector('{button}') !== null")
            page.evaluate(f"document.querySelector('{button}').click()")
        page.wait("document.querySelector('.live-responses-table .response-col_status') !== null")
        address = page.evaluate("document.querySelector('.request-url pre').textContent")
        assert address.endswith(path.replace("docs", "health"))
        assert page.evaluate("document.querySelector('.live-responses-table tbody td').textContent") == "200"


def test_table_and_removal_work_by_keyboard(serve, files, tmp_path):
    with browse(tmp_path) as page:
        page.open(f"http://127.0.0.1:{serve()}/")
        page.choose("#files", files)
        page.wait(f"{CARDS} === 2")
        page.evaluate("window.saved = []; offer = (blob, name) => blob.text().then(text => saved.push([name, text]))")
        page.evaluate("find('table').focus()")
        page.press(" ")
        page.wait("saved.length === 1")
        name, text = page.evaluate("saved[0]")
        assert name == "masks.csv"
        assert [line.split(",")[0] for line in text.splitlines()] == ["image", '"synthetic3.png"', '"synthetic7.png"']
        page.press("Tab")
        page.press(" ")
        page.wait(f"{CARDS} === 0")
        assert page.evaluate("document.activeElement.id") == "files"
