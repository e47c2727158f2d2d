"""Tests of the web page in a browser."""

import json
from pathlib import Path

import axe_core_python
import numpy as np
import pytest
from browser import CHROMIUM, browse
from PIL import Image, ImageDraw
from scipy.ndimage import binary_fill_holes

from lesion_segmentation.data.sources import synthetic
from lesion_segmentation.prediction import load_predictor

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text()
PROBLEMS = "axe.run().then(found => found.violations.map(each => each.id + ' ' + each.nodes[0].html))"
MASK = "Array.from(binarize(entries[0]))"
CARDS = "document.querySelectorAll('.card').length"


@pytest.fixture
def files(tmp_path) -> list[Path]:
    files = [tmp_path / f"synthetic{number}.png" for number in (3, 7)]
    for number, file in zip((3, 7), files, strict=True):
        Image.fromarray(synthetic.synthesize_case(number).image).save(file)
    return files


def test_threshold_changes_masks_without_new_requests(serve, files, tmp_path):
    url = f"http://127.0.0.1:{serve()}/"
    with browse(tmp_path) as page:
        for width, dark in ((1280, False), (390, True)):
            page.open(url, width=width, dark=dark)
            page.choose("#files", files)
            page.wait(f"{CARDS} === 2")
            page.evaluate(AXE)
            assert page.evaluate(PROBLEMS) == []
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


def drag(page, *points):
    """Drag the mouse over points of the first image, given as fractions of its width and height."""
    box = page.evaluate(
        "(({left, top, width, height}) => [left, top, width, height])"
        "(document.querySelector('.image').getBoundingClientRect())"
    )
    kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1), "mouseReleased"]
    for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
        position = {"x": box[0] + x * box[2], "y": box[1] + y * box[3]}
        page.call("Input.dispatchMouseEvent", type=kind, button="left", buttons=1, clickCount=1, **position)


def test_mask_is_corrected_with_the_mouse_and_downloaded(serve, files, tmp_path):
    with browse(tmp_path) as page:
        page.open(f"http://127.0.0.1:{serve()}/", height=1400)
        page.choose("#files", files[:1])
        page.wait(f"{CARDS} === 1")
        before = np.array(page.evaluate(MASK))
        page.evaluate("document.querySelector('.correct').click(); scrollTo(0, 300)")
        page.evaluate(AXE)
        assert page.evaluate(PROBLEMS) == []
        page.evaluate("document.querySelector('.remove').click()")
        drag(page, (0, 0), (1, 1))
        drag(page, (0, 1), (1, 0))
        page.evaluate("document.querySelector('.add').click()")
        drag(page, (0.2, 0.2), (0.4, 0.2))
        after = np.array(page.evaluate(MASK)).reshape(
            page.evaluate("[entries[0].answer.height, entries[0].answer.width]")
        )
        height, width = after.shape
        assert after[int(0.2 * height), int(0.2 * width) : int(0.4 * width)].all()
        assert not after[int(0.7 * height), int(0.7 * width)]
        assert page.evaluate("entries[0].row.corrected")
        assert page.evaluate("entries[0].row.lesion_area") == after.sum()
        page.evaluate("window.saved = []; offer = (blob, name) => blob.text().then(text => saved.push([name, text]))")
        page.evaluate("document.querySelector('.save-labelme').click()")
        page.wait("saved.length === 1")
        name, text = page.evaluate("saved[0]")
        assert name == "synthetic3.json"
        labelme = json.loads(text)
        assert (labelme["imageHeight"], labelme["imageWidth"]) == after.shape
        large = Image.new("1", (8 * width, 8 * height))
        for shape in labelme["shapes"]:
            ImageDraw.Draw(large).polygon([(8 * x, 8 * y) for x, y in shape["points"]], fill=1)
        inside = np.asarray(large)[4::8, 4::8]
        filled = binary_fill_holes(after)
        assert 2 * (inside & filled).sum() / (inside.sum() + filled.sum()) > 0.98  # a fringed mask
        for _ in range(3):
            page.evaluate("document.querySelector('.undo').click()")
        assert page.evaluate(MASK) == before.tolist()


def test_mask_is_corrected_by_keyboard_and_corrections_are_discarded(serve, files, tmp_path):
    with browse(tmp_path) as page:
        page.open(f"http://127.0.0.1:{serve()}/")
        page.choose("#files", files[:1])
        page.wait(f"{CARDS} === 1")
        before = page.evaluate(MASK)
        page.evaluate("document.querySelector('.correct').click(); document.querySelector('.image').focus()")
        for key in ("a", "+", "ArrowRight", " ", "r", "ArrowRight", " "):
            page.press(key)
        assert page.evaluate("document.querySelector('.remove').getAttribute('aria-pressed')") == "true"
        assert page.evaluate("document.querySelector('.tools input').value") == "9"
        changed = np.array(page.evaluate(MASK)) != np.array(before)
        assert changed.any()
        page.evaluate("document.querySelector('.reset').click()")
        assert page.evaluate(MASK) == before
        page.evaluate("document.querySelector('.undo').click()")
        assert (np.array(page.evaluate(MASK)) != np.array(before)).tolist() == changed.tolist()
        page.evaluate("document.querySelector('.image').focus()")
        page.press("z", control=True)
        page.press("z", control=True)
        assert page.evaluate(MASK) == before


def test_released_network_links_its_model_card(serve, tmp_path):
    with browse(tmp_path) as page:
        page.open(f"http://127.0.0.1:{serve(load_predictor())}/")
        page.wait("!document.querySelector('#network a').hidden")
        page.open(page.evaluate("document.querySelector('#network a').href"))
        assert page.evaluate("document.body.textContent").startswith("# The released network")
        page.open(f"http://127.0.0.1:{serve()}/")
        page.wait("find('network').textContent.startsWith('Network: segnet')")
        assert page.evaluate("document.querySelector('#network a').hidden")
