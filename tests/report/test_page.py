"""Report page of a demo run, compared with the CSV files of the same run."""

import html
import json
import re
from decimal import Decimal
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import CHROMIUM, browse

from lesion_segmentation.report.case_views import draw_path
from lesion_segmentation.report.model_card import find_headline


class Numbers(HTMLParser):
    """Collects attributes and text of every <span class="num">, the ids, and the addresses that the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[dict[str, str], str]] = []
        self.addresses: list[str] = []
        self.ids: set[str] = set()
        self._open: dict[str, str] | None = None

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if attributes.get("class") == "num":
            self._open = attributes
            self.found.append((attributes, ""))
        self.ids |= {attributes["id"]} if "id" in attributes else set()
        self.addresses += [attributes[name] for name in ("src", "href") if name in attributes]

    def handle_data(self, data):
        if self._open is not None:
            self.found[-1] = (self._open, data)

    def handle_endtag(self, tag):
        if tag == "span":
            self._open = None


@pytest.fixture
def reporting(finished) -> Path:
    return finished / "data" / "demo" / "08_reporting"


def format_expected(value: float, kind: str) -> str:
    """Format a number independently of the code under test."""
    if np.isnan(value):
        return ""
    if kind == "count":
        return str(round(value))
    if kind == "plain":
        return f"{value}".removesuffix(".0")
    decimals, factor = {"percent": (1, 100), "loss": (3, 1)}[kind]
    return str(Decimal(value * factor).quantize(Decimal(10) ** -decimals))


def test_every_number_equals_its_csv_and_page_is_self_contained(reporting):
    text = (reporting / "report.html").read_text()
    page = Numbers()
    page.feed(text)
    tables = {path.stem: pd.read_csv(path) for path in reporting.glob("*.csv")}
    assert {attributes["data-csv"] for attributes, _ in page.found} == {
        "score_intervals", "table_ii_beside_paper", "case_metrics", "subgroups",
    }  # fmt: skip
    for attributes, shown in page.found:
        value = tables[attributes["data-csv"]].loc[int(attributes["data-row"]), attributes["data-column"]]
        assert shown == format_expected(value, attributes["data-kind"]), attributes
    in_gallery = [attributes for attributes, _ in page.found if attributes["data-csv"] == "case_metrics"]
    assert len(in_gallery) == 2 * (len(tables["case_metrics"]) + 3)  # the worst, median and best are shown twice
    assert len([a for a, _ in page.found if a["data-csv"] == "table_ii_beside_paper"]) == 8 * 18
    assert [address for address in page.addresses if not address.startswith(("#", "data:"))] == []
    assert "Synthetic cases, not photographs" in text
    card = (reporting / "model_card.md").read_text()
    worst = tables["case_metrics"][tables["case_metrics"]["subset"] == "test"]["dice"].min()
    assert f"Dice {100 * worst:.1f}" in card
    assert "not a medical device" in card


def test_every_plotted_number_equals_its_csv(reporting):
    traces = [trace for figure in plotted(reporting / "report.html") for trace in figure]
    history, sweep, calibration = (
        pd.read_csv(reporting / f"{name}.csv") for name in ("training_history", "threshold_sweep", "calibration")
    )
    expected = [history[f"{s}_{m}"] for m in ("loss", "accuracy", "dice") for s in ("train", "validation")]
    expected += [pd.Series([0, 1])]  # the diagonal
    for subset, part in calibration.groupby("subset", sort=False):
        expected.append(part["lesion_share"])
        (name,) = [trace["name"] for trace in traces if trace.get("name", "").startswith(f"{subset}: ECE")]
        assert name == f"{subset}: ECE {100 * part['ece'].iloc[0]:.2f}%, Brier {part['brier'].iloc[0]:.4f}"
    expected.append(sweep["iou"])
    assert len(traces) == len(expected)
    for trace, values in zip(traces, expected, strict=True):
        found = np.array([np.nan if value is None else value for value in trace["y"]], dtype=float)
        np.testing.assert_array_equal(found, values.to_numpy(float))


def test_page_has_dataset_summary_and_audit_of_their_files(reporting):
    text = html.unescape((reporting / "report.html").read_text())
    passport = json.loads((reporting / "dataset_passport.json").read_text())
    for value in (passport["data_hash"], f"mean: {passport['lesion_area']['mean']:.4g}", *passport["diagnoses"]):
        assert str(value) in text
    for row in pd.read_csv(reporting / "metric_audit.csv").itertuples():
        cells = f'<th scope="row">{row.name}</th><td>{row.verdict}</td><td>{row.pooled}</td><td>{row.per_image}</td>'
        assert cells in text


def plotted(page: Path) -> list[list[dict]]:
    """Return the traces of each figure on the page."""
    text = page.read_text()
    starts = [match.end() for match in re.finditer(r'Plotly\.newPlot\(\s*"[^"]+",\s*', text)]
    return [json.JSONDecoder().raw_decode(text[start:])[0] for start in starts]


def test_small_groups_have_no_score(reporting):
    groups = pd.read_csv(reporting / "subgroups.csv")
    assert groups.loc[groups["n"] < 8, ["dice", "iou", "dice_low"]].isna().all(axis=None)
    assert (groups.groupby("grouping")["n"].sum() == 5).all()


def test_thresholds_are_swept_on_validation(reporting):
    sweep = pd.read_csv(reporting / "threshold_sweep.csv")
    table = pd.read_csv(reporting / "table_ii.csv").set_index(["subset", "average", "threshold"])
    assert set(sweep["subset"]) == {"validation"}
    at_half = sweep.set_index("threshold").loc[0.5, "iou"]
    assert at_half == pytest.approx(table.loc[("validation", "per_image", 0.5), "iou"])


def test_contours_are_closed_paths_around_the_mask():
    mask = np.zeros((6, 8), bool)
    mask[2:4, 3:6] = True
    path = draw_path(mask)
    points = np.array([[float(c) for c in point.split(",")] for point in path.strip("MZ").split(" ")])
    assert path.count("M") == path.count("Z") == 1
    assert points.min(axis=0).tolist() == [3.0, 2.0]
    assert points.max(axis=0).tolist() == [6.0, 4.0]
    assert draw_path(np.zeros((6, 8), bool)) == ""


def test_headline_has_means_over_test_images_at_network_threshold(reporting):
    table = pd.read_csv(reporting / "score_intervals.csv")
    rows = table.loc[[score["row"] for score in find_headline(table)["scores"]]]
    kinds = rows[["average", "subset", "threshold_role"]].drop_duplicates().to_numpy().tolist()
    assert kinds == [["per_image", "test", "network"]]


def test_script_finds_its_elements_on_the_page(reporting):
    text = (reporting / "report.html").read_text()
    page = Numbers()
    page.feed(text)
    script = resources.files("lesion_segmentation.report").joinpath("templates", "report.js").read_text()
    (names,) = re.findall(r"for \(const name of (\[.+?\])\)", script)
    wanted = {*re.findall(r'byId\("(.+?)"\)', script), *(f"v-{name}" for name in json.loads(names))}
    assert {"viewer-image", "v-contours"} <= wanted <= page.ids


def test_images_come_first_and_tables_are_folded(reporting):
    text = (reporting / "report.html").read_text()
    assert re.findall(r'<(?:section|details) id="(\w+)"', text) == [
        "scores", "cases", "curves", "tables", "table", "paper", "groups", "audit", "data", "settings", "card",
    ]  # fmt: skip
    assert not re.findall(r"<details[^>]* open", text)
    assert re.findall(r"<h1>(.+?)</h1>", text) == ["SegNet with skips at width 0.0625"]
    large = text[text.index('<ul class="cases large">') : text.index('<ul id="gallery"')]
    table = pd.read_csv(reporting / "case_metrics.csv").query("subset == 'test'").sort_values("dice", kind="stable")
    ranked = list(table["sample_id"])
    expected = list(zip(("Worst", "Median", "Best"), (ranked[0], ranked[len(ranked) // 2], ranked[-1]), strict=True))
    assert re.findall(r"<span>(\w+): (\w+) ", large) == expected


def test_table_beside_the_papers_has_only_comparable_rows(reporting):
    text = (reporting / "report.html").read_text()
    own, beside = text[text.index('id="table"') :].split('id="paper"')
    averages = [re.findall("<td>(per image|pooled|legacy)</td>", part.split("</table>")[0]) for part in (own, beside)]
    assert averages == [["per image", "pooled"] * 6, ["legacy"] * 6]


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_page_in_a_browser(reporting, tmp_path):
    import axe_core_python

    axe = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text()
    problems = "axe.run().then(found => found.violations.map(each => each.id + ' ' + each.nodes[0].html))"
    is_open = "['table', 'paper', 'groups'].map(name => byId(name).open)"
    plots = "[...document.querySelectorAll('.js-plotly-plot')]"
    overhang = f"Math.max(...{plots}.map(plot => plot.querySelector('svg').clientWidth - plot.clientWidth))"
    url = f"file://{reporting}/report.html"
    with browse(tmp_path) as page:
        for width, dark in ((1280, False), (390, True)):
            page.open("about:blank")
            page.open(url, width=width, dark=dark)
            tops = page.evaluate("[...document.querySelectorAll('section')].map(each => each.offsetTop)")
            assert tops == sorted(tops)
            assert page.evaluate(is_open) == [False, False, False]
            page.wait(f"{overhang} < 2")
            page.evaluate("""document.querySelector('nav a[href="#paper"]').click()""")
            assert page.evaluate(is_open) == [True, True, False]
            page.wait("Math.abs(byId('paper').getBoundingClientRect().top) < 2")
            page.evaluate("document.querySelector('.large button').click()")
            caption = "byId('viewer-caption').textContent"
            assert page.evaluate(caption).startswith("Worst: ")
            page.evaluate("byId('viewer-close').click()")
            page.call("Page.printToPDF")
            assert page.evaluate(is_open) == [True, True, True]
            page.evaluate(axe)
            assert page.evaluate(problems) == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.open("about:blank")
        page.open(f"{url}#paper")
        page.wait(f"{is_open}.join() === 'true,true,false'")
